//! Wide-band PESQ (ITU-T P.862.2), by the package `pesq` of PyPI in a virtual environment of its own: the
//! reference implementation in C is built there, and no text of it is here.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Samples a second that it takes.
pub(crate) const RATE: u32 = 16_000;

/// Takes a line for each pair of files (16 bit samples, 16 kHz), gives a line with the score of each. What
/// cannot be judged because nothing is heard in it has the least score.
const SCRIPT: &str = r"
import json, sys
import numpy
from pesq import NoUtterancesError, pesq
for line in sys.stdin:
    source, heard = (numpy.fromfile(path, dtype='<i2') for path in json.loads(line))
    if abs(heard.astype(int)).max() < 16:
        print(1.0)
        continue
    try:
        print(pesq(16000, source, heard, 'wb'))
    except NoUtterancesError:
        print(1.0)
";
const PACKAGES: [&str; 2] = ["pesq==0.0.4", "numpy>=2,<3"];

/// A Python that has `pesq`.
pub(crate) struct Judge {
    python: PathBuf,
}

impl Judge {
    /// Sets the environment up in a folder, if it is not there.
    ///
    /// # Errors
    /// When there is no Python, or the package cannot be had: what to do is in the error.
    pub(crate) fn set_up(folder: &Path) -> Result<Self> {
        let python = folder.join("bin/python");
        if !has_pesq(&python) {
            eprintln!("lab: setting up pesq in {} …", folder.display());
            done(Command::new("python3").args(["-m", "venv"]).arg(folder))
                .context("PESQ takes a Python: apt-get install python3-dev python3-venv")?;
            done(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
                .context("PESQ takes the package pesq of PyPI and a C compiler")?;
            ensure!(has_pesq(&python), "pesq was installed and does not load");
        }
        Ok(Self { python })
    }

    /// The score of each pair of what was said and what was heard, both at [`RATE`] and aligned.
    pub(crate) fn scores<'a>(
        &self,
        pairs: impl IntoIterator<Item = (&'a [f32], &'a [f32])>,
    ) -> Result<Vec<f64>> {
        let folder = tempfile::tempdir()?;
        let mut requests = String::new();
        for (index, (said, heard)) in pairs.into_iter().enumerate() {
            let files = ["said", "heard"].map(|name| folder.path().join(format!("{index}.{name}")));
            write_samples(&files[0], said)?;
            write_samples(&files[1], heard)?;
            requests += &format!("{}\n", json!(files));
        }
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = Command::new(&self.python);
        let mut child = command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        // A few short lines fit into a pipe; it is closed here, so that the script ends.
        child.stdin.take().context("no pipe")?.write_all(requests.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "pesq failed");
        let score = |line: &str| line.trim().parse().with_context(|| format!("pesq printed `{line}`"));
        String::from_utf8(output.stdout)?.lines().map(score).collect()
    }
}

fn has_pesq(python: &Path) -> bool {
    let mut command = Command::new(python);
    let command = command.args(["-c", "import pesq"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn write_samples(path: &Path, samples: &[f32]) -> Result<()> {
    let sample = |sample: &f32| ((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16).to_le_bytes();
    let bytes: Vec<u8> = samples.iter().flat_map(sample).collect();
    Ok(std::fs::write(path, bytes)?)
}
