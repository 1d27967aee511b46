//! The Python face of the packet core: convert and delegate. `sfu/_core.pyi` documents every name.

mod media;
mod parts;
mod specs;

use pyo3::prelude::*;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<specs::Track>()?;
    m.add_class::<specs::Sink>()?;
    m.add_class::<media::Media>()?;
    parts::register(m)?;
    m.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    // A debug build is ten times slower and checks arithmetic: the node refuses it outside of tests.
    m.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })
}
