//! `snug`: the window and the command line. All of it is in the library `app`.

fn main() -> std::process::ExitCode {
    app::cli::main()
}
