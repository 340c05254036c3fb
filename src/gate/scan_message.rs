//! The JSON of the scan API, as in pipelock's `docs/scan-api.md`. Pure: what is asked, and what is answered.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::dlp::{Finding as DlpFinding, Severity};
use super::policy::ScanPolicy;
use super::url_verdict::Refusal;

/// A question. Unknown fields and trailing data are errors: a caller that means something by them must not be
/// answered as if they were not there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Request {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub input: Input,
    #[serde(default)]
    pub context: Option<Context>,
    #[serde(default)]
    pub options: Option<Options>,
}

/// What is to be judged: one field, by kind.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Input {
    pub url: Option<String>,
    pub text: Option<String>,
    pub content: Option<String>,
    pub tool_name: Option<String>,
    pub arguments: Option<IgnoredAny>,
}

/// Who asks, for his own records.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Context {
    pub request_id: Option<String>,
    pub session_id: Option<String>,
    pub agent_name: Option<String>,
}

/// How to answer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Options {
    pub include_evidence: bool,
}

/// An answer.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Response {
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<&'static str>,
    pub kind: String,
    pub scan_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub duration_ms: u64,
    pub engine_version: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ApiError>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// One rule that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Finding {
    pub scanner: &'static str,
    pub rule_id: String,
    pub severity: Severity,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// How the text was wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct Evidence {
    pub encoding: &'static str,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are documented by pipelock")]
pub struct ApiError {
    pub code: &'static str,
    pub message: String,
    pub retryable: bool,
}

/// A question that passed every check.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// Judge this URL.
    Url(String),
    /// Judge this text.
    Dlp(String),
}

/// A refusal to judge: status code, the kind as far as it is known, and the error.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// Echoed kind.
    pub kind: String,
    /// The one error.
    pub error: ApiError,
}

impl Failure {
    pub(super) fn new(status: u16, kind: &str, code: &'static str, message: impl Into<String>) -> Self {
        let retryable = matches!(
            code,
            "rate_limited"
                | "scan_deadline_exceeded"
                | "scan_unavailable"
                | "config_unavailable"
                | "request_canceled"
        );
        Self { status, kind: kind.to_owned(), error: ApiError { code, message: message.into(), retryable } }
    }
}

/// Parses a body and picks the question, its request id and whether evidence is wanted.
///
/// # Errors
/// `invalid_json`, `invalid_kind`, `kind_disabled` or `invalid_input`, in this order, all with status 400.
pub fn parse(body: &[u8], policy: &ScanPolicy) -> Result<(Question, Option<String>, bool), Failure> {
    // serde would read an array as the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::new(400, "", "invalid_json", "the body is not a JSON object"));
    }
    // The parser's own message could quote the body, that is, a secret: only the position is told.
    let request: Request = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = format!("the body is not a request of this API (line {line}, column {column})");
        Failure::new(400, "", "invalid_json", message)
    })?;
    let kind = request.kind.as_str();
    let enabled = match kind {
        "url" => policy.url_enabled,
        "dlp" => policy.dlp_enabled,
        "prompt_injection" | "tool_call" => false,
        _ => {
            let message = "the kind is not one of url, dlp, prompt_injection, tool_call";
            return Err(Failure::new(400, kind.get(..64).unwrap_or(kind), "invalid_kind", message));
        }
    };
    if !enabled {
        return Err(Failure::new(
            400,
            kind,
            "kind_disabled",
            format!("the kind {kind} is off on this server"),
        ));
    }
    let invalid = |message: &str| Failure::new(400, kind, "invalid_input", message);
    let question = if kind == "url" {
        let url = request.input.url.unwrap_or_default();
        if url.is_empty() {
            return Err(invalid("input.url is required"));
        }
        if url.len() > policy.url_limit_bytes {
            return Err(invalid("input.url exceeds field limit"));
        }
        let has_host = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        if !url::Url::parse(&url).is_ok_and(|parsed| has_host(&parsed)) {
            return Err(invalid("input.url has to be an http or https URL with a host"));
        }
        Question::Url(url)
    } else {
        let text = request.input.text.unwrap_or_default();
        if text.is_empty() {
            return Err(invalid("input.text is required"));
        }
        if text.len() > policy.text_limit_bytes {
            return Err(invalid("input.text exceeds field limit"));
        }
        Question::Dlp(text)
    };
    let request_id = request.context.and_then(|context| context.request_id).filter(|id| !id.is_empty());
    Ok((question, request_id, request.options.is_some_and(|options| options.include_evidence)))
}

/// The finding for a refused URL.
pub fn url_finding(refusal: &Refusal) -> Finding {
    Finding {
        scanner: "url",
        rule_id: refusal.stage.rule_id().to_owned(),
        severity: refusal.stage.severity(),
        message: refusal.reason.clone(),
        evidence: None,
    }
}

/// The findings that deny a text; those that only warn are not among them.
pub fn dlp_findings(findings: &[DlpFinding], include_evidence: bool) -> Vec<Finding> {
    findings
        .iter()
        .filter(|finding| !finding.warn)
        .map(|finding| Finding {
            scanner: "dlp",
            rule_id: format!("DLP-{}", finding.name),
            severity: finding.severity,
            message: format!("looks like a secret: {}", finding.name),
            evidence: include_evidence.then_some(Evidence { encoding: finding.encoding }),
        })
        .collect()
}
