//! mmctl's command line, as far as it takes to tell flags from words.

/// Flags of every command. `=` marks one that takes a value.
const GLOBAL: [&str; 10] = [
    "--config=",
    "--disable-pager",
    "--format=",
    "--insecure-sha1-intermediate",
    "--insecure-tls-version",
    "--json",
    "--local",
    "--quiet",
    "--strict",
    "--suppress-warnings",
];

#[derive(Debug, Default, PartialEq)]
pub struct Args {
    pub json: bool,
    /// The words after the command.
    pub positional: Vec<String>,
    flags: Vec<(String, String)>,
}

impl Args {
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|(name, _)| name == flag)
    }

    /// A flag's value; an empty one counts as absent, as in mmctl.
    pub fn value(&self, flag: &str) -> Option<&str> {
        let found = self.flags.iter().rev().find(|(name, _)| name == flag);
        found.map(|(_, value)| value.as_str()).filter(|it| !it.is_empty())
    }

    /// A flag's value, or the empty text.
    pub fn text(&self, flag: &str) -> &str {
        self.value(flag).unwrap_or_default()
    }

    /// The values of a flag that may be given several times, or several values at once with commas.
    pub fn values(&self, flag: &str) -> Vec<String> {
        let given = self.flags.iter().filter(|(name, _)| name == flag);
        given.flat_map(|(_, value)| value.split(',')).map(str::to_owned).collect()
    }
}

/// The words up to the command, found before its flags are known: no command's name follows a flag with a value.
pub fn words(arguments: &[String]) -> Vec<&str> {
    let mut words = Vec::new();
    let mut skip = false;
    for argument in arguments {
        if std::mem::take(&mut skip) {
            continue;
        }
        if argument.starts_with('-') && words.len() < 2 {
            skip = GLOBAL.iter().any(|it| it.strip_suffix('=') == Some(argument));
        } else if argument.starts_with('-') {
            break;
        } else {
            words.push(argument.as_str());
        }
    }
    words
}

/// `depth` is the number of words that the command itself has.
pub fn parse(arguments: &[String], own: &[&str], depth: usize) -> Result<Args, String> {
    let mut args = Args::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let argument = match argument.as_str() {
            "-f" if own.contains(&"--force") => "--force",
            it if it.len() > 1 && it.starts_with('-') && !it.starts_with("--") => {
                return Err(format!("unknown shorthand flag: {:?} in {it}", it.chars().nth(1).unwrap_or('-')));
            }
            it => it,
        };
        if !argument.starts_with("--") {
            args.positional.push(argument.to_owned());
            continue;
        }
        let (name, given) = argument.split_once('=').map_or((argument, None), |(n, v)| (n, Some(v)));
        let known = own.iter().chain(&GLOBAL).find(|it| it.trim_end_matches('=') == name);
        let value = match (known, given) {
            (None, _) => return Err(format!("unknown flag: {name}")),
            (Some(_), Some(value)) => value.to_owned(),
            (Some(it), None) if it.ends_with('=') => {
                rest.next().cloned().ok_or_else(|| format!("flag needs an argument: {name}"))?
            }
            (Some(_), None) => "true".to_owned(),
        };
        if name == "--json" || (name == "--format" && value == "json") {
            args.json = true;
        }
        if value != "false" {
            args.flags.push((name.to_owned(), value));
        }
    }
    args.positional.drain(..args.positional.len().min(depth));
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_may_stand_anywhere() {
        let line = split("--local --json user create --email a@b --username=ann --system-admin");
        assert_eq!(words(&line), ["user", "create"]);
        let args = parse(&line, &["--email=", "--username=", "--system-admin"], 2).expect("valid");
        assert_eq!((args.json, args.value("--email"), args.value("--username")), (true, Some("a@b"), Some("ann")));
        assert!(args.has("--system-admin") && args.positional.is_empty());
    }

    #[test]
    fn words_after_the_command_are_its_arguments() {
        let args = parse(&split("token generate ann ci --local"), &[], 2).expect("valid");
        assert_eq!(args.positional, ["ann", "ci"]);
    }

    #[test]
    fn a_command_of_three_words_keeps_its_arguments_apart() {
        let args = parse(&split("--local team users add engineering ann"), &[], 3).expect("valid");
        assert_eq!(args.positional, ["engineering", "ann"]);
    }

    #[test]
    fn an_unknown_flag_is_an_error() {
        assert_eq!(parse(&split("user list --al"), &["--all"], 2), Err("unknown flag: --al".to_owned()));
    }
}
