//! Targeted fields: Cache-Control for one class of caches (RFC 9213).
//!
//! Such a field is a Structured Fields Dictionary (RFC 9651), with a strict grammar and typed values. A field
//! that breaks the grammar, or gives a directive we know a value of the wrong type, is as good as absent; the
//! next one in the list, or Cache-Control, counts instead.

use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::cache_control::{Directive, ResponseDirectives, Restriction};
use crate::fields::Fields;
use crate::time::DeltaSeconds;

/// The directives of the first field in `names` that is present, valid and not empty (RFC 9213, 2.2).
pub(crate) fn targeted_directives(names: &[String], fields: &Fields) -> Option<ResponseDirectives> {
    names.iter().find_map(|name| {
        let value = fields.combined(name)?;
        let dictionary: Dictionary = Parser::new(&value).parse().ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut directives = ResponseDirectives::default();
        for (key, entry) in &dictionary {
            // Parameters mean nothing (RFC 9213, 2.1).
            let value = match entry {
                ListEntry::Item(item) => Some(&item.bare_item),
                ListEntry::InnerList(_) => None,
            };
            apply(&mut directives, key.as_str(), value)?;
        }
        Some(directives)
    })
}

/// `None` when a known directive has a value of the wrong type.
fn apply(directives: &mut ResponseDirectives, name: &str, value: Option<&BareItem>) -> Option<()> {
    match name {
        "max-age" => directives.max_age = seconds(value)?,
        "s-maxage" => directives.s_maxage = seconds(value)?,
        "stale-while-revalidate" => directives.stale_while_revalidate = seconds(value)?,
        "stale-if-error" => directives.stale_if_error = seconds(value)?,
        "no-cache" => directives.no_cache = restriction(value)?,
        "private" => directives.private = restriction(value)?,
        "no-store" => directives.no_store = flag(value)?,
        "must-revalidate" => directives.must_revalidate = flag(value)?,
        "proxy-revalidate" => directives.proxy_revalidate = flag(value)?,
        "public" => directives.public = flag(value)?,
        "must-understand" => directives.must_understand = flag(value)?,
        "immutable" => directives.immutable = flag(value)?,
        _ => {}
    }
    Some(())
}

/// A negative integer has the right type but is no lifetime: invalid, and therefore stale.
fn seconds(value: Option<&BareItem>) -> Option<Directive<DeltaSeconds>> {
    let Some(BareItem::Integer(seconds)) = value else { return None };
    Some(match u64::try_from(i64::from(*seconds)) {
        Ok(seconds) => Directive::Value(DeltaSeconds::from_secs(seconds)),
        Err(_) => Directive::Invalid,
    })
}

fn flag(value: Option<&BareItem>) -> Option<bool> {
    match value {
        Some(BareItem::Boolean(flag)) => Some(*flag),
        _ => None,
    }
}

fn restriction(value: Option<&BareItem>) -> Option<Restriction> {
    match value {
        Some(BareItem::Boolean(true)) => Some(Restriction::Whole),
        Some(BareItem::Boolean(false)) => Some(Restriction::Absent),
        Some(BareItem::String(names)) => Some(Restriction::of_field_names(names.as_str().as_bytes())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[(&str, &str)]) -> Option<ResponseDirectives> {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.push(name, value.as_bytes()).unwrap();
        }
        targeted_directives(&["Own-Cache-Control".into(), "CDN-Cache-Control".into()], &fields)
    }

    fn cdn(value: &str) -> Option<ResponseDirectives> {
        parse(&[("CDN-Cache-Control", value)])
    }

    #[test]
    fn directives_have_types() {
        let directives =
            cdn("max-age=99999999999;a=b, no-cache=\"A\", foo=1.5, bar=(a b), must-revalidate").unwrap();
        assert_eq!(directives.max_age, Directive::Value(DeltaSeconds::MAX));
        assert_eq!(directives.no_cache, Restriction::Fields(vec!["a".into()]));
        assert!(directives.must_revalidate && !directives.public);
        assert_eq!(cdn("max-age=-1").unwrap().max_age, Directive::Invalid);
        assert!(!cdn("no-store=?0").unwrap().no_store);
    }

    #[test]
    fn an_error_anywhere_voids_the_field() {
        for value in [
            "",
            " ",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=1.0",
            "max-age",
            "max-age =1",
            "Max-Age=1",
            "no-store=1",
            "private=a",
            "max-age=(1)",
            "max-age=1,",
            "max-age=9999999999999999",
        ] {
            assert_eq!(cdn(value), None, "{value}");
        }
    }

    #[test]
    fn the_first_valid_field_of_the_list_counts() {
        let both = |own| parse(&[("cdn-cache-control", "max-age=1"), ("own-cache-control", own)]).unwrap();
        assert!(!both("no-store").max_age.is_present());
        assert!(both("No-Store").max_age.is_present());
        assert_eq!(parse(&[("Cache-Control", "max-age=1")]), None);
    }

    #[test]
    fn lines_form_one_dictionary() {
        let directives =
            parse(&[("CDN-Cache-Control", "max-age=1"), ("CDN-Cache-Control", "no-store")]).unwrap();
        assert!(directives.no_store && directives.max_age.is_present());
    }
}
