use std::process::ExitCode;

use crate::doctor::page;
use crate::drivers::files;
use crate::error::hinted;
use crate::secrets::{self, Secrets};
use crate::stack::{SITE, Stack};
use crate::{certs, host, relay_image, render};

/// Write every generated file from the templates, stack.toml and this host.
///
/// Missing secrets and certificates are made; existing ones stay.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask render\n  cargo xtask render --check    (in CI: is what git tracks up to date?)\n  cargo xtask render --diff     (what would change, secrets redacted)"
)]
pub struct Args {
    /// Write nothing; fail when a tracked file differs. Needs neither secrets nor Docker.
    #[arg(long)]
    check: bool,

    /// Write nothing; show the difference of every file, with secrets replaced by their names.
    #[arg(long, conflicts_with = "check")]
    diff: bool,
}

pub fn run(args: Args, stack: &Stack) -> anyhow::Result<ExitCode> {
    if args.check {
        return check(stack);
    }
    if args.diff {
        return diff(stack);
    }
    let _lock = files::lock(&stack.root.join("env"), "render")?;
    let mut lines = super::up::prepare(stack, &host::detect(&stack.settings)?)?.lines;
    lines.extend(render::write(&documentation(stack), &stack.root)?.iter().map(|path| format!("wrote {path}")));
    for line in &lines {
        println!("{line}");
    }
    if lines.is_empty() {
        println!("Everything is up to date.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Pages that are printed from tables of the code. They are the checkout's, and no other stack has them.
fn documentation(stack: &Stack) -> Vec<render::File> {
    if stack.name != SITE {
        return Vec::new();
    }
    vec![render::File { path: page::PATH, contents: page::render(), mode: 0o644, tracked: true }]
}

fn check(stack: &Stack) -> anyhow::Result<ExitCode> {
    let mut files = render::tracked(&stack.settings)?;
    files.extend(documentation(stack));
    let differing = render::check(&files, &stack.root);
    if differing.is_empty() {
        println!("The tracked files are up to date.");
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", render::diff(&files, &stack.root, &Secrets::default()));
    let names = differing.iter().map(|file| file.path).collect::<Vec<_>>().join(", ");
    Err(hinted(
        anyhow::anyhow!("not what stack.toml and the templates say: {names}"),
        "run `cargo xtask render` and commit the result",
    ))
}

/// Without secrets or certificates there is nothing to compare the ignored files with.
fn diff(stack: &Stack) -> anyhow::Result<ExitCode> {
    let secrets = Secrets::load(&secrets::path(&stack.root))?;
    let host = host::detect(&stack.settings)?;
    let files = match certs::load(&stack.root, &stack.settings)? {
        Some(certificates) if secrets.get(secrets::TURN_SECRET).is_some() => {
            let relay_tag = relay_image::tag(&stack.settings)?;
            render::render(&stack.settings, &host, &secrets, &certificates, &relay_tag)?
        }
        _ => render::tracked(&stack.settings)?,
    };
    let text = render::diff(&files, &stack.root, &secrets);
    print!("{}", if text.is_empty() { "No difference.\n" } else { &text });
    Ok(ExitCode::SUCCESS)
}
