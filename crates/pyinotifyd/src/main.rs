//! The program; all of it is in the library beside it, where the fuzz targets find it too.

fn main() -> std::process::ExitCode {
    pyinotifyd::main()
}
