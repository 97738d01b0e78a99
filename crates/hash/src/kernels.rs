//! The kernels that this machine has, and which is best for how many messages.
//!
//! A kernel feeds blocks to a fixed number of states, in lock step. Its cost is the same however many of its lanes hold a
//! message. So for a number of equal messages there is a cheapest sequence of kernels; a [`Table`] keeps the first of each.

use crate::lanes;
use crate::path::Path;
use crate::state::{BLOCK, Sha1Algorithm, Sha256Algorithm, sealed::Algorithm};
use std::cmp::Reverse;
use std::sync::OnceLock;

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
#[macro_use]
mod rounds;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vl;
#[cfg(target_arch = "x86_64")]
mod avx512x2;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod neon;
#[cfg(target_arch = "x86_64")]
pub(crate) mod shani;
#[cfg(test)]
mod tests;

/// Lanes of the widest kernel.
pub(crate) const MAX_LANES: usize = 32;

/// Feeds the states in the first columns their blocks: a run for each lane of the kernel, all equally long.
pub(crate) type Compress<A> = fn(&mut <A as Algorithm>::Rows, &[&[[u8; BLOCK]]]);

/// One way to hash.
pub(crate) struct Kernel<A: Algorithm> {
    pub(crate) path: Path,
    pub(crate) is_available: fn() -> bool,
    pub(crate) lanes: usize,
    /// Throughput with all lanes in use, relative to the crates with SHA instructions. Measured: docs/measurements.md.
    pub(crate) speed: f32,
    pub(crate) compress: Compress<A>,
}

/// The best kernel for each number of messages.
pub(crate) struct Table<A: Algorithm> {
    best: [&'static Kernel<A>; MAX_LANES],
}

impl<A: Algorithm> Table<A> {
    /// The table of these kernels.
    fn new(kernels: impl Iterator<Item = &'static Kernel<A>> + Clone) -> Table<A> {
        // The cost of one block of so many messages, by the best sequence; in whole units, so that equals are equal.
        let mut costs = [0_u32; MAX_LANES + 1];
        let best = std::array::from_fn(|index| {
            let messages = index + 1;
            let cost = |kernel: &Kernel<A>| {
                let step = (kernel.lanes as f32 / kernel.speed * 1000.0) as u32;
                step + costs[messages.saturating_sub(kernel.lanes)]
            };
            let best = kernels
                .clone()
                .min_by_key(|kernel| (cost(kernel), Reverse(kernel.lanes)))
                .expect("the portable kernel is always among them");
            costs[messages] = cost(best);
            best
        });
        Table { best }
    }

    /// The table for what [`crate::set_path`] was told.
    pub(crate) fn current() -> &'static Table<A>
    where
        A: Kernels,
    {
        Self::of(crate::path())
    }

    /// The table of one path (with the crates), or of all that this machine has.
    pub(crate) fn of(path: Option<Path>) -> &'static Table<A>
    where
        A: Kernels,
    {
        A::tables()[path.map_or(0, |path| path as usize)].get_or_init(|| {
            Table::new(A::kernels().iter().filter(|kernel| {
                let wanted = kernel.path == Path::Portable || path.is_none_or(|path| path == kernel.path);
                wanted && (kernel.is_available)()
            }))
        })
    }

    /// The best kernel for `messages` messages, at least 1 and at most [`MAX_LANES`].
    pub(crate) fn kernel(&self, messages: usize) -> &'static Kernel<A> {
        self.best[messages - 1]
    }

    /// Whether a batch of so many messages is best hashed one after the other.
    pub(crate) fn is_alone(&self, messages: usize) -> bool {
        self.kernel(messages.clamp(1, MAX_LANES)).path == Path::Portable
    }
}

/// All tables of an algorithm: `None` first, then by [`Path`]'s number.
pub(crate) type Tables<A> = [OnceLock<Table<A>>; Path::ALL.len() + 1];

/// An algorithm's kernels, of this kind of processor.
pub(crate) trait Kernels: Algorithm {
    /// All of them, whether this machine can run them or not.
    fn kernels() -> &'static [Kernel<Self>];
    /// Where its tables are kept.
    fn tables() -> &'static Tables<Self>;
}

/// Whether the crates use SHA instructions here.
fn has_sha_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return shani::is_available();
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// One message through the crates.
fn portable<A: Algorithm>(rows: &mut A::Rows, runs: &[&[[u8; BLOCK]]]) {
    let mut words = lanes::column::<A>(rows, 0);
    A::compress(&mut words, runs[0]);
    lanes::set_column::<A>(rows, 0, &words);
}

macro_rules! kernels {
    ($algorithm:ident: $($(#[$cfg:meta])* $path:ident, $available:expr, $lanes:literal, $speed:literal, $compress:expr;)*) => {
        impl Kernels for $algorithm {
            fn kernels() -> &'static [Kernel<Self>] {
                static KERNELS: &[Kernel<$algorithm>] = &[$($(#[$cfg])* Kernel {
                    path: Path::$path,
                    is_available: $available,
                    lanes: $lanes,
                    speed: $speed,
                    compress: $compress,
                }),*];
                KERNELS
            }
            fn tables() -> &'static Tables<Self> {
                static TABLES: Tables<$algorithm> = [const { OnceLock::new() }; Path::ALL.len() + 1];
                &TABLES
            }
        }
    };
}

// Speeds: cargo bench -p shoal-hash on Zen 5, docs/measurements.md. The crates without SHA instructions: the same with
// `RUSTFLAGS='--cfg sha1_backend="soft" --cfg sha2_backend="soft"'`. On Zen 4, whose vector units are half as wide, 16 lanes of
// SHA-256 are as fast as SHA-NI (2.0), so 10 to 15 messages lose there what they gain on Zen 5. NEON's speeds are guesses, between the crates with SHA
// instructions and without.
kernels! { Sha1Algorithm:
    #[cfg(target_arch = "x86_64")] Avx512, avx512x2::is_available, 32, 6.3, avx512x2::sha1;
    #[cfg(target_arch = "x86_64")] Avx512, avx512::is_available, 16, 5.7, avx512::sha1;
    #[cfg(target_arch = "x86_64")] Avx512, avx512vl::is_available, 8, 3.0, avx512vl::sha1;
    #[cfg(target_arch = "x86_64")] Avx2, avx2::is_available, 8, 1.86, avx2::sha1;
    #[cfg(target_arch = "x86_64")] ShaNi, shani::is_available, 2, 1.77, shani::sha1;
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))] Neon, neon::is_available, 4, 0.8, neon::sha1;
    Portable, has_sha_instructions, 1, 1.0, portable::<Sha1Algorithm>;
    Portable, || true, 1, 0.42, portable::<Sha1Algorithm>;
}
kernels! { Sha256Algorithm:
    #[cfg(target_arch = "x86_64")] Avx512, avx512x2::is_available, 32, 3.6, avx512x2::sha256;
    #[cfg(target_arch = "x86_64")] Avx512, avx512::is_available, 16, 3.1, avx512::sha256;
    #[cfg(target_arch = "x86_64")] Avx512, avx512vl::is_available, 8, 1.63, avx512vl::sha256;
    #[cfg(target_arch = "x86_64")] Avx2, avx2::is_available, 8, 0.99, avx2::sha256;
    #[cfg(target_arch = "x86_64")] ShaNi, shani::is_available, 2, 1.55, shani::sha256;
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))] Neon, neon::is_available, 4, 0.4, neon::sha256;
    Portable, has_sha_instructions, 1, 1.0, portable::<Sha256Algorithm>;
    Portable, || true, 1, 0.21, portable::<Sha256Algorithm>;
}
