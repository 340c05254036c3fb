//! Why bytes are no frame.

/// What ends a stream of frames. Facts of the header only: a payload is never quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The next bytes begin no frame: stray text, or a peer of another family.
    #[error("no frame begins here")]
    Marker,
    /// A marker, and then a header that was damaged or belongs to two writers.
    #[error("the header of a frame is damaged")]
    Header,
    /// The header announces more than a frame of this type may carry. Nothing was kept for it.
    #[error("a frame of type {kind} announces {length} bytes, at most {max} are allowed")]
    TooLong {
        /// Type in the header.
        kind: u8,
        /// Length in the header.
        length: u32,
        /// The bound.
        max: u32,
    },
    /// A known type on a stream of its own, without all its fields, or with a value that does not exist.
    #[error("a frame of type {kind} with {length} bytes is not valid")]
    Malformed {
        /// Type in the header.
        kind: u8,
        /// Length in the header.
        length: u32,
    },
}
