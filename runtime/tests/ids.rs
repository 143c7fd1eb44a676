//! Names: the alphabet is the guard, since they become directories.

use proptest::prelude::*;
use tare_runtime::Id;

#[test]
fn names_that_could_be_paths_or_options_are_refused() {
    for bad in ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "a\0", "a\n", "ä", &"x".repeat(65)] {
        let error = Id::new(bad).expect_err(bad).to_string();
        assert!(error.starts_with("container id "), "{error}");
    }
    for good in ["a", "A-1_b.c", "0", &"x".repeat(64)] {
        assert_eq!(Id::new(good).expect(good).as_str(), good);
    }
}

#[test]
fn json_cannot_bring_in_a_bad_name() {
    assert!(serde_json::from_str::<Id>("\"../x\"").is_err());
    assert_eq!(serde_json::from_str::<Id>("\"x\"").expect("good"), Id::new("x").expect("good"));
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_one_plain_path_component(text in ".{0,70}") {
        if let Ok(id) = Id::new(&text) {
            let path = std::path::Path::new(id.as_str());
            prop_assert_eq!(path.components().count(), 1);
            prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            prop_assert!(!text.starts_with('-') && text.len() <= 64);
        }
    }
}
