//! Values to bytes and back: the alphabet of which heads and events are written.
//!
//! Numbers are LEB128, so that the small ones, which most are, take a byte. What is read is hostile until checked: a value
//! that does not fit its type, or a count of more items than bytes are left, is `None`, and nothing is allocated by a
//! number that was read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A value that can be written and read back. `take(put(x)) == x`.
pub(crate) trait Field: Sized {
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it off the front; `None` if what is there is none.
    fn take(rest: &mut &[u8]) -> Option<Self>;
}

/// Takes `count` bytes off the front.
pub(crate) fn take_bytes<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (first, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(first)
}

impl Field for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut left = *self;
        while left >= 0x80 {
            out.push(left as u8 | 0x80);
            left >>= 7;
        }
        out.push(left as u8);
    }

    fn take(rest: &mut &[u8]) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, after) = rest.split_first()?;
            *rest = after;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Numbers that are written as `u64`.
macro_rules! number {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as u64).put(out);
            }

            fn take(rest: &mut &[u8]) -> Option<$type> {
                u64::take(rest)?.try_into().ok()
            }
        }
    )*};
}
number!(u8, u16, u32, usize);

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(rest: &mut &[u8]) -> Option<bool> {
        match take_bytes(rest, 1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(rest: &mut &[u8]) -> Option<[u8; N]> {
        take_bytes(rest, N)?.try_into().ok()
    }
}

/// Bytes with their count before them.
pub(crate) fn put_run(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.len().put(out);
    out.extend_from_slice(bytes);
}

/// What [`put_run`] wrote.
pub(crate) fn take_run<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = usize::take(rest)?;
    take_bytes(rest, count)
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_run(self.as_bytes(), out);
    }

    fn take(rest: &mut &[u8]) -> Option<String> {
        std::str::from_utf8(take_run(rest)?).ok().map(str::to_owned)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(rest: &mut &[u8]) -> Option<Option<T>> {
        if bool::take(rest)? { T::take(rest).map(Some) } else { Some(None) }
    }
}

impl<T: Field, E: Field> Field for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_ok().put(out);
        match self {
            Ok(value) => value.put(out),
            Err(error) => error.put(out),
        }
    }

    fn take(rest: &mut &[u8]) -> Option<Result<T, E>> {
        if bool::take(rest)? { T::take(rest).map(Ok) } else { E::take(rest).map(Err) }
    }
}

impl Field for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        self.iter().for_each(|item| item.put(out));
    }

    fn take(rest: &mut &[u8]) -> Option<Vec<T>> {
        let count = usize::take(rest)?;
        // Every item takes a byte at least.
        if count > rest.len() {
            return None;
        }
        // Grows with what is read, not with what was said.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::take(rest)?);
        }
        Some(items)
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(rest: &mut &[u8]) -> Option<(A, B)> {
        Some((A::take(rest)?, B::take(rest)?))
    }
}

impl Field for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_secs().put(out);
        self.subsec_nanos().put(out);
    }

    fn take(rest: &mut &[u8]) -> Option<Duration> {
        let (secs, nanos) = (u64::take(rest)?, u32::take(rest)?);
        (nanos < 1_000_000_000).then(|| Duration::new(secs, nanos))
    }
}

impl Field for IpAddr {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_ipv4().put(out);
        match self {
            IpAddr::V4(addr) => addr.octets().put(out),
            IpAddr::V6(addr) => addr.octets().put(out),
        }
    }

    fn take(rest: &mut &[u8]) -> Option<IpAddr> {
        Some(match bool::take(rest)? {
            true => Ipv4Addr::from(<[u8; 4]>::take(rest)?).into(),
            false => Ipv6Addr::from(<[u8; 16]>::take(rest)?).into(),
        })
    }
}

impl Field for SocketAddr {
    /// Without flow and scope of an IPv6 address: no decision looks at them, but whether two are equal, so a link-local
    /// address keeps its scope.
    fn put(&self, out: &mut Vec<u8>) {
        self.ip().put(out);
        self.port().put(out);
        if let SocketAddr::V6(addr) = self {
            addr.scope_id().put(out);
            addr.flowinfo().put(out);
        }
    }

    fn take(rest: &mut &[u8]) -> Option<SocketAddr> {
        let (ip, port) = (IpAddr::take(rest)?, u16::take(rest)?);
        let mut addr = SocketAddr::new(ip, port);
        if let SocketAddr::V6(addr) = &mut addr {
            addr.set_scope_id(u32::take(rest)?);
            addr.set_flowinfo(u32::take(rest)?);
        }
        Some(addr)
    }
}

/// A struct whose fields are written in this order.
macro_rules! fields {
    ($($type:ident { $($field:ident),* $(,)? })*) => {$(
        impl $crate::field::Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let $type { $($field),* } = self;
                $($field.put(out);)*
            }

            fn take(rest: &mut &[u8]) -> Option<$type> {
                Some($type { $($field: $crate::field::Field::take(rest)?),* })
            }
        }
    )*};
}

/// An enum without data, each variant with its number for good.
macro_rules! words {
    ($($type:ident { $($number:literal $variant:ident),* $(,)? })*) => {$(
        impl $crate::field::Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $($type::$variant => $number),* });
            }

            fn take(rest: &mut &[u8]) -> Option<$type> {
                match $crate::field::take_bytes(rest, 1)? {
                    $([$number] => Some($type::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}

/// A number of a kind of its own.
macro_rules! keys {
    ($($type:ident),*) => {$(
        impl $crate::field::Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn take(rest: &mut &[u8]) -> Option<$type> {
                $crate::field::Field::take(rest).map($type)
            }
        }
    )*};
}

pub(crate) use {fields, keys, words};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Debug;

    fn comes_back<T: Field + PartialEq + Debug>(value: T) {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(T::take(&mut rest), Some(value));
        assert!(rest.is_empty());
        for cut in 0..bytes.len() {
            // A part is nothing, or a shorter value; never a panic.
            let _ = T::take(&mut &bytes[..cut]);
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(number: u64, text: String, list: Vec<Option<u32>>, addr: SocketAddr, wait: Duration) {
            comes_back(number);
            comes_back((text, list));
            comes_back(addr);
            comes_back(Ok::<Duration, bool>(wait));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let rest = &mut bytes.as_slice();
            let _ = Vec::<(u64, String)>::take(rest);
            let _ = Vec::<SocketAddr>::take(rest);
        }
    }

    #[test]
    fn a_number_that_is_too_large_for_its_type_is_refused() {
        assert_eq!(u8::take(&mut &[0x80, 0x02][..]), None);
        assert_eq!(u64::take(&mut &[0xff; 10][..]), None, "65 bits and more");
        assert_eq!(Vec::<u64>::take(&mut &[0xff, 0xff, 0x03, 0][..]), None, "more items than bytes");
    }
}
