//! Sections of pipelock's file that are accepted and have no effect on this engine.
//!
//! They are typed all the same, so that a slip of the pen in them is an error here as it is there.

use serde::Deserialize;

/// Key by key copy of a section that does nothing here.
macro_rules! inert {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[expect(missing_docs, reason = "the keys are documented by pipelock; here they have no effect")]
        pub struct $name {
            $(pub $field: Option<$kind>),*
        }
    };
}

inert!(
    /// Scanning of forwarded bodies: this engine forwards none.
    RequestBodyScanning {
        enabled: bool,
        action: String,
        max_body_bytes: u64,
        scan_headers: bool,
        header_mode: String,
        sensitive_headers: Vec<String>,
        ignore_headers: Vec<String>,
    }
);
inert!(
    /// Injection scanning of responses: responses pass inside TLS.
    ResponseScanning { enabled: bool, action: String, sse_streaming: SseStreaming }
);
inert!(
    /// Part of [`ResponseScanning`].
    SseStreaming { enabled: bool, action: String }
);
inert!(
    /// A section of which only the switch is known.
    Switch { enabled: bool }
);
inert!(
    /// Recognition of wallet seed phrases: not built in.
    SeedPhraseDetection { enabled: bool, min_words: u32, verify_checksum: bool }
);
inert!(
    /// Where and what pipelock logs; here always JSON lines on standard output.
    Logging { format: String, output: String, file: String, include_allowed: bool, include_blocked: bool }
);
inert!(
    /// Event sinks: not built in.
    Emit { instance_id: String }
);
inert!(
    /// One exception for response findings.
    Suppress { rule: String, path: String, reason: String }
);
