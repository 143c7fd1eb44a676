//! No key twice: of two, one reader takes the first and another the last.
//!
//! Who checks a configuration and who executes it must read the same. For the fields that have a type of
//! their own serde sees to it, for the others (annotations, kernel settings, what we do not know) it does not.
//!
//! Man page: RFC 8259, section 4. Look at it: add a second `"x": "2"` to the annotations of a bundle and
//! `tare-runtime create --bundle DIR box`

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::fault;
use crate::error::Result;

/// Refuses a text with a key that stands twice in one object.
///
/// # Errors
/// [`Error::Spec`](crate::Error::Spec) naming the place; for a text that is no JSON too.
pub(super) fn check(text: &str) -> Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize::<_, Once>(&mut json)
        .map(drop)
        .map_err(|error| fault(error.path().to_string(), error.inner().to_string()))
}

/// Any value, looked through and thrown away.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Looker)
    }
}

struct Looker;

impl<'de> Visitor<'de> for Looker {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Once, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Once>()?;
            if let Some(key) = seen.replace(key) {
                return Err(A::Error::custom(format_args!("{key:?} is given twice")));
            }
        }
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Once, A::Error> {
        while list.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> std::result::Result<Once, E> {
        Ok(Once)
    }
}
