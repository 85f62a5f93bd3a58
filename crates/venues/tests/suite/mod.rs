//! What every venue must pass, fed by `vectors/<venue>/`: `accepted.toml` (what a request asks, and what the venue gets)
//! and `refusals.toml` (what is refused, and why). `captures.json` and published examples have tests of their own, since
//! they go through the venue's signatures.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub about: String,
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub fields: String,
    #[serde(default)]
    pub public: bool,
    pub actions: String,
    pub sent: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusals {
    pub group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub about: String,
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub fields: String,
    #[serde(default, rename = "where")]
    pub place: String,
    #[serde(default)]
    pub headers: Vec<[String; 2]>,
    #[serde(default)]
    pub bare: bool,
    pub codes: Vec<String>,
    pub good: Option<String>,
    pub values: Vec<String>,
}

/// A request of the vectors, before the venue's own credential and time are put in.
pub struct Sample {
    pub method: String,
    pub target: String,
    pub body: String,
    pub headers: Vec<[String; 2]>,
    /// Gets no timestamp and signature.
    pub bare: bool,
}

impl Group {
    pub fn sample(&self, value: &str) -> Sample {
        let put = |text: &str| text.replace("{}", value);
        let in_query = self.place == "query" || self.fields.is_empty() && self.method == "GET";
        let headers = self
            .headers
            .iter()
            .map(|[name, text]| match put(name).split_once(": ") {
                Some((name, text)) => [name.to_owned(), text.to_owned()],
                None => [put(name), put(text)],
            });
        let (target, body) = if in_query {
            (put(&self.path), String::new())
        } else {
            (put(&self.path), put(&self.fields))
        };
        Sample {
            method: put(&self.method),
            target,
            body,
            headers: headers.collect(),
            bare: self.bare,
        }
    }
}

impl Case {
    pub fn sample(&self) -> Sample {
        let (mut target, mut body) = (self.path.clone(), String::new());
        if self.method == "GET" {
            target = format!("{target}?{}", self.fields);
        } else {
            body = self.fields.clone();
        }
        Sample {
            method: self.method.clone(),
            target,
            body,
            headers: Vec::new(),
            bare: self.public,
        }
    }
}

pub fn file(venue: &str, name: &str) -> String {
    let path = format!(
        "{}/../../vectors/{venue}/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What the suite needs of a venue: decode a sample into `(actions as JSON, fields sent, the same again from the rebuilt
/// request)`, or the refusal's code.
pub struct Understood {
    pub actions: serde_json::Value,
    pub sent: String,
    pub again: serde_json::Value,
}

/// Tests of the vectors in `vectors/<venue>/` through `fn decode(&Sample) -> Result<Understood, String>` of module `$venue`.
#[macro_export]
macro_rules! venue_suite {
    ($venue:ident) => {
        #[test]
        fn what_is_accepted_asks_what_it_should() {
            let accepted: $crate::suite::Accepted =
                toml::from_str(&$crate::suite::file(stringify!($venue), "accepted.toml")).unwrap();
            for case in &accepted.case {
                let understood = $venue::decode(&case.sample())
                    .unwrap_or_else(|code| panic!("{}: {code}", case.about));
                let expected: serde_json::Value = serde_json::from_str(&case.actions).unwrap();
                assert_eq!(understood.actions, expected, "{}", case.about);
                assert_eq!(understood.sent, case.sent, "{}", case.about);
                assert_eq!(understood.again, expected, "{}: rebuilt", case.about);
            }
        }

        #[test]
        fn what_is_refused_is_refused_for_its_reason() {
            let refusals: $crate::suite::Refusals =
                toml::from_str(&$crate::suite::file(stringify!($venue), "refusals.toml")).unwrap();
            let accepted: $crate::suite::Accepted =
                toml::from_str(&$crate::suite::file(stringify!($venue), "accepted.toml")).unwrap();
            let mut wrong = Vec::new();
            let mut refused = 0;
            for group in &refusals.group {
                if let Some(good) = &group.good
                    && let Err(code) = $venue::decode(&group.sample(good))
                {
                    wrong.push(format!(
                        "{}: the good value `{good}` is refused: {code}",
                        group.about
                    ));
                }
                for value in &group.values {
                    match $venue::decode(&group.sample(value)) {
                        Ok(understood) => wrong.push(format!(
                            "{}: `{value}` passes as {} with {}",
                            group.about, understood.actions, understood.sent
                        )),
                        Err(code) if group.codes.iter().any(|c| code.starts_with(c.as_str())) => {
                            refused += 1
                        }
                        Err(code) => {
                            wrong.push(format!("{}: `{value}` is refused as {code}", group.about))
                        }
                    }
                }
            }
            assert!(
                wrong.is_empty(),
                "{} wrong:\n{}",
                wrong.len(),
                wrong.join("\n")
            );
            assert!(
                refused > accepted.case.len() * 10,
                "{refused} refusals, {} approvals",
                accepted.case.len()
            );
        }
    };
}
