//! How single values are written in the file: a list may be one string alone.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use signaling::IceServer;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// `"a"` or `["a", "b"]`.
pub(crate) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

/// A string that means something.
pub(crate) fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    parse(&text).map(Some)
}

fn parse<T: FromStr<Err: fmt::Display>, E: Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|error| E::custom(format!("\"{text}\": {error}")))
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        Ok(vec![parse(text)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            all.push(parse(&text)?);
        }
        Ok(all)
    }
}

/// An ICE server as the file has it; as a flag, an address alone.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceEntry {
    pub(crate) urls: Vec<String>,
    pub(crate) username: Option<String>,
    pub(crate) credential: Option<super::Secret>,
}

impl FromStr for IceEntry {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { urls: vec![text.to_owned()], username: None, credential: None })
    }
}

impl From<IceEntry> for IceServer {
    fn from(entry: IceEntry) -> Self {
        Self { urls: entry.urls, username: entry.username, credential: entry.credential.map(|c| c.0) }
    }
}
