//! Names from a torrent made safe for a disk.
//!
//! A torrent's names come from strangers: they may hold `..`, slashes, control characters, characters that reorder or
//! hide text, or differ only in case. [`safe_paths`] maps all names of a torrent at once, since whether a name is free
//! depends on the others. The map is deterministic, so that every run finds the files of the one before.
//!
//! Invariants, each a property test below: a [`SafePath`] is relative, has at least one component, none is empty, `.`
//! or `..`, holds `/`, `\`, a control, bidi or hidden character, or has more than 255 bytes; two files of a torrent
//! never share a path under case folding and normalization, and none lies where another needs a folder; safe paths
//! map to themselves. Joiners (U+200C, U+200D) stay between two characters that are not ASCII, because Persian, Indic
//! scripts and emoji need them; names that differ in them alone count as the same.

use caseless::Caseless;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;

/// Bytes in one component, at most: what Linux file systems take (`NAME_MAX`).
pub const MAX_COMPONENT_BYTES: usize = 255;
/// Bytes of an extension, with its dot, that survives shortening. Chosen: longer ones are no extensions.
const MAX_EXTENSION_BYTES: usize = 16;
/// Bytes kept free for `.1` to `.1000000` when a name is taken. Chosen: [`shoal_layout::MAX_FILES`] has seven digits.
const SUFFIX_BYTES: usize = 8;

/// A relative path that may be opened below a folder handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafePath(Box<str>);

impl SafePath {
    /// From components that are the caller's own, such as those of a scanned folder: `None` if one of them is empty,
    /// `.`, `..` or holds a slash or NUL. Nothing is rewritten.
    pub fn exact<S: AsRef<str>>(components: impl IntoIterator<Item = S>) -> Option<SafePath> {
        let mut joined = String::new();
        for component in components {
            let component = component.as_ref();
            if matches!(component, "" | "." | "..") || component.contains(['/', '\0']) {
                return None;
            }
            if !joined.is_empty() {
                joined.push('/');
            }
            joined.push_str(component);
        }
        (!joined.is_empty()).then(|| SafePath(joined.into_boxed_str()))
    }

    /// Its components, outermost first; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// All components with slashes between them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it lies in, if it is not at the top.
    pub fn parent(&self) -> Option<SafePath> {
        self.0.rsplit_once('/').map(|(folder, _)| SafePath(folder.into()))
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Where it is below `folder`.
    pub fn below(&self, folder: &Path) -> PathBuf {
        folder.join(&*self.0)
    }
}

/// One component made safe. `portable`: also for Windows, where some names and characters are not allowed.
pub fn safe_component(raw: &str, portable: bool) -> String {
    let mut name = clean_once(raw, portable);
    loop {
        let again = clean_once(&name, portable);
        // Each turn shortens the name or is the last: cutting can uncover a character that may not stand at an end.
        if again == name || again.len() >= name.len() && again.chars().count() >= name.chars().count() {
            return again;
        }
        name = again;
    }
}

fn clean_once(raw: &str, portable: bool) -> String {
    let mut name = String::with_capacity(raw.len().min(MAX_COMPONENT_BYTES + 4));
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' | '\\' => name.push('_'),
            '<' | '>' | ':' | '"' | '|' | '?' | '*' if portable => name.push('_'),
            '\u{200c}' | '\u{200d}' => {
                let before = name.chars().next_back().is_some_and(joins);
                if before && chars.peek().copied().is_some_and(joins) {
                    name.push(c);
                }
            }
            c if c.is_control() => name.push('_'),
            c if is_hidden(c) => {}
            c => name.push(c),
        }
    }
    if portable {
        let kept = name.trim_end_matches([' ', '.']).len();
        let dropped = name.len() - kept;
        name.truncate(kept);
        name.extend(std::iter::repeat_n('_', dropped));
        if is_reserved(&name) {
            name.insert(0, '_');
        }
    }
    match name.as_str() {
        "" => name.push('_'),
        "." => name = "_".into(),
        ".." => name = "__".into(),
        _ => {}
    }
    shorten(&name, MAX_COMPONENT_BYTES)
}

/// Whether a joiner beside this character can be meant.
fn joins(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !c.is_control() && !is_hidden(c)
}

/// Characters that show nothing, or change the order of what is shown: Unicode's Bidi_Control, and those of
/// Default_Ignorable_Code_Point that no script needs between letters; variation selectors stay, emoji need them.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}')
}

/// Names that Windows keeps for devices, with any extension.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut digits = number.chars();
        matches!((digits.next(), digits.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
    })
}

/// Cuts the stem, on a character's boundary, so that stem and extension have at most `limit` bytes.
fn shorten(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_string();
    }
    let (stem, extension) = split_extension(name);
    let mut cut = limit - extension.len();
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{extension}", &stem[..cut])
}

/// Stem and extension with its dot; no extension if there is none that is short enough to be one.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= MAX_EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}

/// What two paths must not share: canonical caseless match (Unicode 3.13, D145), joiners and selectors left out.
fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    path.chars()
        .filter(|c| !matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}'))
        .nfd()
        .default_case_fold()
        .nfc()
        .collect()
}

/// Safe and distinct paths for all files of a torrent, in its order. `root` is the folder's name for a torrent of many
/// files. The first file of those that collide keeps its name, later ones get `.1`, `.2`, … before their extension.
/// Cost: linear in the names' bytes.
pub fn safe_paths<P>(root: Option<&str>, files: impl IntoIterator<Item = P>, portable: bool) -> Vec<SafePath>
where
    P: IntoIterator<Item: AsRef<str>>,
{
    let root = root.map(|root| safe_component(root, portable));
    let mut paths: Vec<String> = Vec::new();
    let mut folders: HashSet<String> = HashSet::new();
    for components in files {
        let mut path = root.clone().unwrap_or_default();
        let mut is_named = false;
        for component in components {
            is_named = true;
            if !path.is_empty() {
                folders.insert(fold(&path));
                path.push('/');
            }
            path.push_str(&safe_component(component.as_ref(), portable));
        }
        if !is_named {
            // Nothing that was parsed has no name; were it so, it would still need a place.
            path.push_str(if path.is_empty() { "_" } else { "/_" });
        }
        paths.push(path);
    }
    let mut taken: HashSet<String> = HashSet::with_capacity(paths.len());
    let mut crowded = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let key = fold(path);
        if folders.contains(&key) || !taken.insert(key) {
            crowded.push(index);
        }
    }
    // A counter for each stem, so that a million equal names cost a million steps and not their square.
    let mut counters: HashMap<String, u32> = HashMap::new();
    for index in crowded {
        let (folder, name) = match paths[index].rfind('/') {
            Some(slash) => paths[index].split_at(slash + 1),
            None => ("", paths[index].as_str()),
        };
        let short = shorten(name, MAX_COMPONENT_BYTES - SUFFIX_BYTES);
        let (stem, extension) = split_extension(&short);
        let counter = counters.entry(fold(&format!("{folder}{short}"))).or_insert(0);
        let free = loop {
            *counter += 1;
            let candidate = format!("{folder}{stem}.{counter}{extension}");
            let key = fold(&candidate);
            if !folders.contains(&key) && taken.insert(key) {
                break candidate;
            }
        };
        paths[index] = free;
    }
    paths.into_iter().map(|path| SafePath(path.into_boxed_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(names: &[&[&str]]) -> Vec<String> {
        let owned: Vec<Vec<String>> = names.iter().map(|n| n.iter().map(ToString::to_string).collect()).collect();
        safe_paths(None, owned.iter().map(Vec::as_slice), false).iter().map(|p| p.as_str().to_string()).collect()
    }

    fn assert_safe(path: &SafePath, portable: bool) {
        assert!(!path.as_str().is_empty() && !path.as_str().starts_with('/'));
        for component in path.components() {
            assert!(!component.is_empty() && component != "." && component != "..", "{path:?}");
            assert!(component.len() <= MAX_COMPONENT_BYTES, "{path:?}");
            assert!(!component.contains(['/', '\\', '\0']), "{path:?}");
            assert!(!component.chars().any(|c| c.is_control() || is_hidden(c)), "{path:?}");
            assert!(!portable || !is_reserved(component) && !component.ends_with([' ', '.']), "{path:?}");
            assert!(!portable || !component.contains(['<', '>', ':', '"', '|', '?', '*']), "{path:?}");
        }
    }

    fn assert_all_good(input: &[Vec<String>], root: Option<&str>, portable: bool) {
        let out = safe_paths(root, input.iter().map(Vec::as_slice), portable);
        assert_eq!(out.len(), input.len());
        let mut keys = HashSet::new();
        for path in &out {
            assert_safe(path, portable);
            assert!(keys.insert(fold(path.as_str())), "{path:?} twice in {out:?}");
        }
        for path in &out {
            let mut parent = path.parent();
            while let Some(folder) = parent {
                assert!(!keys.contains(&fold(folder.as_str())), "{folder:?} is a file and a folder");
                parent = folder.parent();
            }
        }
        let again: Vec<Vec<String>> = out.iter().map(|p| p.components().map(ToString::to_string).collect()).collect();
        assert_eq!(safe_paths(None, again.iter().map(Vec::as_slice), portable), out, "idempotent");
    }

    /// Components made of what attacks are made of.
    fn component() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "[aA.]{0,3}",
            2 => prop::collection::vec(prop::sample::select(vec![
                "..", ".", "/", "\\", "\0", "\u{202e}", "\u{200b}", "\u{200d}", "\u{200c}", "é", "e\u{301}", "ß", "ss", "SS",
                "ẞ", "İ", "i\u{307}", "ﬀ", "ff", "Σ", "ς", "\u{345}", "ᾳ", "ن", "👩", " ", "con", "NUL", "COM¹", "\n", "\u{7f}", ":",
                "\u{feff}", "a.1", ".1",
            ]), 0..5).prop_map(|parts| parts.concat()),
            1 => "\\PC{0,6}",
            1 => any::<String>(),
            1 => (200_usize..300, "[a-c]{0,2}", "(\\.[a-z]{1,20})?").prop_map(|(n, a, e)| format!("{}{a}{e}", "ä".repeat(n / 2))),
            1 => (250_usize..262, "(\\.[a-z]{0,20})?").prop_map(|(n, e)| format!("{}{e}", "x".repeat(n))),
        ]
    }

    proptest! {
        // 4,096 torrents of up to 24 files with up to 3 components: well over 100,000 names.
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn every_path_is_safe_unique_and_stable(
            files in prop::collection::vec(prop::collection::vec(component(), 1..4), 1..24),
            root in prop::option::of(component()),
            portable: bool,
        ) {
            assert_all_good(&files, root.as_deref(), portable);
        }
    }

    /// Names of what attacks are made of, in a thousand torrents of a thousand files (reliability.md A5).
    #[test]
    fn a_million_generated_names_are_safe_unique_and_stable() {
        const PARTS: [&str; 44] = [
            "..",
            ".",
            "/",
            "\\",
            "\0",
            "a",
            "A",
            "b",
            "txt",
            ".txt",
            " ",
            "con",
            "NUL",
            "COM1",
            "lpt¹",
            "\n",
            "\u{7f}",
            ":",
            "*",
            "é",
            "e\u{301}",
            "É",
            "ß",
            "ss",
            "İ",
            "i\u{307}",
            "ﬀ",
            "Σ",
            "ς",
            "\u{202e}",
            "\u{200b}",
            "\u{200d}",
            "\u{feff}",
            "\u{e0041}",
            "👩",
            "ن",
            "\u{345}",
            "ᾳ",
            "\u{fffd}",
            "~",
            "%2e",
            "$(x)",
            "C:",
            "\u{1f3fb}",
        ];
        let mut rng = shoal_machine::Rng::new(5);
        for torrent in 0..1_000 {
            let name = |rng: &mut shoal_machine::Rng| {
                let parts = rng.index(5);
                let mut name: String = (0..parts).map(|_| PARTS[rng.index(PARTS.len())]).collect();
                if rng.chance(0.01) {
                    name = name.repeat(100);
                }
                name
            };
            let files: Vec<Vec<String>> =
                (0..1_000).map(|_| (0..1 + rng.index(3)).map(|_| name(&mut rng)).collect()).collect();
            let root = name(&mut rng);
            assert_all_good(&files, (torrent % 2 == 0).then_some(&*root), torrent % 4 < 2);
        }
    }

    #[test]
    fn a_path_never_climbs_or_starts_at_the_root() {
        assert_eq!(paths(&[&["..", "..", "etc", "passwd"]]), ["__/__/etc/passwd"]);
        assert_eq!(paths(&[&["/etc/passwd"]]), ["_etc_passwd"]);
        assert_eq!(paths(&[&["..\\..\\x"]]), [".._.._x"]);
        assert_eq!(paths(&[&["", "a"], &[".\u{200b}."]]), ["_/a", "__"]);
    }

    #[test]
    fn names_of_many_scripts_stay_as_they_are() {
        for name in [
            "naïve.txt",
            "e\u{301}",
            "日本語.zip",
            "می\u{200c}خواهم",
            "👩\u{200d}👩\u{200d}👧.png",
            "क\u{94d}\u{200d}ष",
            "☎\u{fe0f}",
            "a b",
            "...",
            ".x",
        ] {
            assert_eq!(paths(&[&[name]]), [name]);
        }
        assert_eq!(paths(&[&["invoice\u{202e}fdp.exe"]]), ["invoicefdp.exe"]);
        assert_eq!(paths(&[&["a\u{200d}b"]]), ["ab"]);
    }

    #[test]
    fn later_names_give_way() {
        assert_eq!(
            paths(&[&["a.txt"], &["A.TXT"], &["a.1.txt"], &["a.txt"]]),
            ["a.txt", "A.2.TXT", "a.1.txt", "a.3.txt"]
        );
        assert_eq!(paths(&[&["a"], &["a", "b"]]), ["a.1", "a/b"]);
        assert_eq!(paths(&[&["é"], &["e\u{301}"]]), ["é", "e\u{301}.1"]);
        assert_eq!(paths(&[&["straße"], &["STRASSE"]]), ["straße", "STRASSE.1"]);
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = format!("{}.tar.gz", "é".repeat(200));
        let safe = safe_component(&long, false);
        assert!(safe.len() <= 255 && safe.len() > 250 && safe.ends_with(".gz"), "{safe}");
    }

    #[test]
    fn portable_names_avoid_what_windows_keeps() {
        for (raw, safe) in
            [("COM1", "_COM1"), ("nul.txt", "_nul.txt"), ("a.", "a_"), ("a ", "a_"), ("a:b", "a_b"), ("COM10", "COM10")]
        {
            assert_eq!(safe_component(raw, true), safe);
        }
        assert_eq!(safe_component("COM1", false), "COM1");
    }

    #[test]
    fn a_hundred_thousand_equal_names_are_told_apart_quickly() {
        let names = vec![vec!["x".repeat(255)]; 100_000];
        let out = safe_paths(None, names.iter().map(Vec::as_slice), false);
        assert_eq!(out.iter().collect::<HashSet<_>>().len(), out.len());
    }

    #[test]
    fn exact_paths_are_checked_and_not_rewritten() {
        assert_eq!(SafePath::exact(["a\\b", "c\u{202e}"]).unwrap().as_str(), "a\\b/c\u{202e}");
        for bad in ["", ".", "..", "a/b", "a\0"] {
            assert_eq!(SafePath::exact(["x", bad]), None);
        }
        assert_eq!(SafePath::exact(Vec::<String>::new()), None);
    }
}
