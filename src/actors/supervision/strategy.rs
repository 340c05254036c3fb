//! Which siblings a death touches (OTP `supervisor:strategy()`).

/// Which siblings a death touches, if the dead child is to be started again.
///
/// The touched siblings are stopped in reverse start order, then all touched are started in start order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    OneForOne,
    /// Those started after it.
    RestForOne,
    /// All.
    OneForAll,
}
