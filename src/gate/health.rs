//! `GET /health`: the document that pipelock answers with, so that one probe fits both engines.

use std::time::Duration;

use serde_json::{Value, json};

use super::ENGINE_VERSION;
use super::policy::Policy;

/// The document. Always "healthy" while serving, also with the kill switch on: readers look at its field.
pub fn document(policy: &Policy, uptime: Duration, kill_switch_active: bool) -> Value {
    json!({
        "status": "healthy",
        "version": ENGINE_VERSION,
        "mode": "strict",
        "uptime_seconds": uptime.as_secs_f64(),
        "dlp_patterns": policy.scanner.len(),
        "response_scan_enabled": false,
        "git_protection_enabled": false,
        "rate_limit_enabled": true,
        "forward_proxy_enabled": policy.tunnel.enabled,
        "websocket_proxy_enabled": false,
        "request_body_scan_enabled": false,
        "tls_interception_enabled": false,
        "kill_switch_active": kill_switch_active,
        "config_hash": policy.config_hash,
    })
}
