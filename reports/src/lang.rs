//! The two languages of the page. Every text stands beside its translation, where it is used.

use std::str::FromStr;

use crate::Error;

/// Language of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

impl Lang {
    /// The text of the two that is in this language.
    pub fn pick<T>(self, en: T, zh: T) -> T {
        match self {
            Self::En => en,
            Self::Zh => zh,
        }
    }

    /// The value of the page's `lang` attribute (BCP 47).
    pub fn tag(self) -> &'static str {
        self.pick("en", "zh-Hans")
    }
}

impl FromStr for Lang {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "en" => Ok(Self::En),
            "zh" => Ok(Self::Zh),
            _ => Err(Error::Lang { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_names_are_languages() {
        assert_eq!("en".parse::<Lang>().unwrap(), Lang::En);
        assert_eq!("zh".parse::<Lang>().unwrap(), Lang::Zh);
        assert_eq!(
            "fr".parse::<Lang>().unwrap_err().to_string(),
            "the page does not speak `fr`: use `en` or `zh`"
        );
    }
}
