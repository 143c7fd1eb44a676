//! What there is more of than at an earlier moment.

use tare_reports::document::Failure;

use crate::lab::Failed;

/// The difference, bytes; `what` says in words who has them.
///
/// # Errors
/// Where there is less now: nobody knows then what the boxes took, and it surely was not nothing.
pub(super) fn since(what: &str, now: u64, before: u64) -> Result<u64, Failed> {
    now.checked_sub(before).ok_or_else(|| {
        let less = before - now;
        let why = format!("{what} {less} bytes less than before: something was taken away meanwhile");
        Failed::new(Failure::NotMeasured, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_before_is_no_figure() {
        assert_eq!(since("the host uses", 1600, 1000), Ok(600));
        let failed = since("the host uses", 1000, 1600).unwrap_err();
        assert_eq!(failed.failure, Failure::NotMeasured);
        assert!(failed.detail.starts_with("the host uses 600 bytes less"), "{failed:?}");
    }
}
