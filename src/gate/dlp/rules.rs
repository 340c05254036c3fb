//! The table of credential formats: name, literal anchors, expression, a sample that must hit, a decoy that must not.
//!
//! Names that pipelock also has are spelled as there, because rule ids are part of the contract. To add a format:
//! one entry, with the vendor's published prefix as anchor; the table's test does the rest.

use super::rule::{Check, Rule, Severity, rule};

/// Every built-in rule with a literal anchor. Card numbers and IBANs are in `numbers`, as they have none.
pub(super) const RULES: &[Rule] = &[
    // Cloud platforms
    rule(
        "AWS Access ID",
        &["AKIA", "ASIA", "ABIA", "ACCA"],
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
        &["AKIA", "IOSFODNN7EXAMPLE"],
        "AKIASHORT and ASIA-PACIFIC",
    )
    .core(),
    rule(
        "AWS Secret Key",
        &["secret_access_key", "secretaccesskey", "secret access key", "aws_secret_key", "secret-access-key"],
        r#"(?i)(?:secret[_ -]?access[_ -]?key|aws_secret_key)(?:\\?["'])?[\s:=>]{1,6}(?:\\?["'])?[A-Za-z0-9/+]{40}(?:[^A-Za-z0-9/+]|$)"#,
        &["aws_secret_", "access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"],
        "aws_secret_access_key = ${AWS_SECRET_ACCESS_KEY}",
    )
    .core(),
    rule(
        "GCP service account key",
        &["service_account"],
        r#""type"\s*:\s*"service_account""#,
        &["{\"type\": \"service", "_account\", \"project_id\": \"x\"}"],
        "the service_account field is required",
    )
    .core()
    .lookback(16),
    rule(
        "Google API Key",
        &["AIza"],
        r"AIza[0-9A-Za-z_-]{35}",
        &["AIza", "SyD4x8KfQm2Lw9TzVb7Nc1Rj5Hp3Gs6Yu0E"],
        "AIzaBriefly",
    ),
    rule(
        "Google OAuth Client Secret",
        &["GOCSPX-"],
        r"GOCSPX-[A-Za-z0-9_-]{24,}",
        &["GOCSPX-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4"],
        "GOCSPX-<your secret>",
    ),
    rule(
        "Google OAuth Token",
        &["ya29."],
        r"ya29\.[A-Za-z0-9_-]{24,}",
        &["ya29.", "a0AfH6SMBx3Kd9Lq2Wm8Rt5Yv1Zn7Cb4Gp6"],
        "ya29.html",
    ),
    rule(
        "Azure Storage Key",
        &["AccountKey="],
        r"(?i)AccountKey=[A-Za-z0-9+/]{80,}",
        &["Account", "Key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="],
        "AccountKey=<key>;EndpointSuffix=core.windows.net",
    ),
    rule(
        "Azure Client Secret",
        &["8Q~", "7Q~"],
        r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}",
        &["aB3", "8Q~x1Y2z3A4b5C6d7E8f9G0h1I2j3K4l5M6"],
        "8Q~ is short",
    )
    .lookback(3),
    rule(
        "DigitalOcean Token",
        &["dop_v1_", "doo_v1_", "dor_v1_"],
        r"do[opr]_v1_[a-f0-9]{64}",
        &["dop_v1_", "3f9a1c7e5b2d8046f9e1a3c5b7d90824", "6f8e1a3c5b7d9f02468ace13579bdf02"],
        "dop_v1_xyz",
    ),
    rule(
        "Databricks Token",
        &["dapi"],
        r"dapi[a-f0-9]{32}",
        &["dapi", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"],
        "dapi_version and dapiDeadbeef",
    ),
    rule(
        "HashiCorp Vault Token",
        &["hvs.", "hvb.", "hvr."],
        r"hv[sbr]\.[A-Za-z0-9_-]{24,}",
        &["hvs.", "CAESIJ3k8Lm2Nq7Rt4Vx9Zb5Dc1Fg6Hj0K"],
        "hvs.count",
    ),
    rule(
        "Terraform Cloud Token",
        &[".atlasv1."],
        r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}",
        &["aB3dE6gH9jK2mN.atlas", "v1.", "q1W2e3R4t5Y6u7I8o9P0a1S2d3F4g5H6j7K8l9Z0x1C2v3B4n5M6q7W8e9R0"],
        "the .atlasv1. infix",
    )
    .lookback(14),
    rule(
        "Pulumi Token",
        &["pul-"],
        r"pul-[a-f0-9]{40}",
        &["pul-", "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"],
        "pul-sar",
    )
    .word(),
    rule(
        "Fly.io Token",
        &["fm2_"],
        r"fm2_[A-Za-z0-9+/_-]{40,}",
        &["fm2_", "lJPECAAAAAAAAMqvxBCkZ1QwW3xY5zA7bC9dE1fG3hI5jK7lM9"],
        "fm2_gain",
    )
    .word(),
    rule(
        "Tailscale Key",
        &["tskey-"],
        r"tskey-[a-z]{3,12}-[A-Za-z0-9]{8,}-[A-Za-z0-9]{20,}",
        &["tskey-", "auth-kAbCdEf1CNTRL-a1B2c3D4e5F6g7H8i9J0k1L2"],
        "tskey-auth-KEY",
    ),
    rule(
        "PlanetScale Token",
        &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"],
        r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.-]{30,}",
        &["pscale_", "tkn_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"],
        "pscale_pw_x",
    ),
    rule(
        "Supabase Service Key",
        &["sbp_", "sb_secret_"],
        r"(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,})",
        &["sbp_", "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"],
        "sb_secret_key and sbp_total",
    )
    .word(),
    rule(
        "Vercel Token",
        &["vercel_blob_rw_", "vcp_", "vck_", "vci_"],
        r"(?:vercel_blob_rw_[A-Za-z0-9_]{24,}|vc[pki]_[A-Za-z0-9]{24,})",
        &["vercel_blob_", "rw_a1B2c3D4e5F6g7H8_i9J0k1L2m3N4"],
        "vcp_table",
    )
    .word(),
    rule(
        "Netlify Token",
        &["nfp_"],
        r"nfp_[A-Za-z0-9]{36,}",
        &["nfp_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"],
        "nfp_state",
    )
    .word(),
    rule(
        "Heroku Token",
        &["HRKU-"],
        r"HRKU-AA[A-Za-z0-9_-]{56,}",
        &["HRKU-", "AAa1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8"],
        "HRKU-1",
    ),
    rule(
        "Doppler Token",
        &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa."],
        r"dp\.(?:pt|ct|sa|st(?:\.[a-z0-9_-]{1,35})?)\.[A-Za-z0-9]{40,}",
        &["dp.", "pt.a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"],
        "dp.st.name",
    )
    .word(),
    // Code hosting and packages
    rule(
        "GitHub Token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        r"gh[pousr]_[A-Za-z0-9]{36,}",
        &["ghp_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50smkjE"],
        "ghp_placeholder",
    )
    .core()
    .check(Check::Crc32Tail),
    rule(
        "GitHub Fine-Grained PAT",
        &["github_pat_"],
        r"github_pat_[A-Za-z0-9_]{36,}",
        &["github_pat_", "11ABCDEFG0a1B2c3D4e5F6_g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2"],
        "github_pat_token",
    )
    .core(),
    rule(
        "GitLab PAT",
        &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-"],
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[A-Za-z0-9_-]{20,}",
        &["glpat-", "a1B2c3D4e5F6g7H8i9J0"],
        "glpat-TOKEN",
    )
    .core()
    .word(),
    rule(
        "Atlassian Token",
        &["ATATT3", "ATCTT3"],
        r"AT[AC]TT3[A-Za-z0-9_=-]{60,}",
        &["ATATT3", "xFfGF0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2"],
        "ATATT3x",
    ),
    rule(
        "npm Token",
        &["npm_"],
        r"npm_[A-Za-z0-9]{36,}",
        &["npm_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50smkjE"],
        "npm_config_registry",
    )
    .check(Check::Crc32Tail),
    rule(
        "PyPI Token",
        &["pypi-Ag"],
        r"pypi-Ag[A-Za-z0-9_-]{40,}",
        &["pypi-", "AgEIcHlwaS5vcmcCJGExYjJjM2Q0LWU1ZjYtNzg5MC1hYmNkLWVmMTIzNDU2Nzg5MA"],
        "pypi-Agent",
    ),
    rule(
        "crates.io Token",
        &["cio"],
        r"cio[A-Za-z0-9]{32}\b",
        &["cio", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"],
        "ciovacco",
    )
    .word()
    .check(Check::Random),
    rule(
        "RubyGems Token",
        &["rubygems_"],
        r"rubygems_[a-f0-9]{48}",
        &["rubygems_", "0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef"],
        "rubygems_api_key",
    ),
    rule(
        "NuGet API Key",
        &["oy2"],
        r"oy2[a-z0-9]{43}\b",
        &["oy2", "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v"],
        "oy2short",
    )
    .word()
    .check(Check::Random),
    rule(
        "Docker Hub Token",
        &["dckr_pat_", "dckr_oat_"],
        r"dckr_[po]at_[A-Za-z0-9_-]{20,}",
        &["dckr_pat_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N"],
        "dckr_pat_TOKEN",
    ),
    rule(
        "CircleCI Token",
        &["CCIPAT_", "CCIPRJ_"],
        r"CCIP(?:AT|RJ)_[A-Za-z0-9]{20,}_[a-f0-9]{40}",
        &["CCIPAT_", "a1B2c3D4e5F6g7H8i9J0k1_0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"],
        "CCIPAT_x",
    ),
    rule(
        "Buildkite Token",
        &["bkua_"],
        r"bkua_[a-z0-9]{40}",
        &["bkua_", "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"],
        "bkua_x",
    ),
    rule(
        "Postman API Key",
        &["PMAK-"],
        r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
        &["PMAK-", "0a1b2c3d4e5f60718293a4b5-c6d7e8f9012345678901234567890abcde"],
        "PMAK-x",
    ),
    // Models
    rule(
        "Anthropic API Key",
        &["sk-ant-"],
        r"sk-ant-[A-Za-z0-9_-]{16,}",
        &["sk-ant-", "api03-a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"],
        "sk-ant-YOUR_KEY",
    ),
    rule(
        "OpenAI Service Key",
        &["sk-svcacct-", "sk-admin-"],
        r"sk-(?:svcacct|admin)-[A-Za-z0-9_-]{20,}",
        &["sk-svcacct-", "a1B2c3D4e5F6g7H8i9J0k1L2"],
        "sk-admin-panel",
    ),
    rule(
        "OpenAI API Key",
        &["sk-proj-", "T3BlbkFJ"],
        r"(?:sk-proj-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,})",
        &["sk-proj-", "a1B2c3D4e5F6g7H8i9J0k1L2"],
        "sk-proj-name",
    )
    .lookback(90),
    rule(
        "Secret Key with sk Prefix",
        &["sk-"],
        r"sk-(?:or-v1-)?[A-Za-z0-9]{32,}",
        &["sk-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4"],
        "sk-learn and risk-averse",
    )
    .word()
    .check(Check::Random),
    rule(
        "Hugging Face Token",
        &["hf_", "api_org_"],
        r"(?:hf|api_org)_[A-Za-z0-9]{30,}",
        &["hf_", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"],
        "hf_hub_download",
    )
    .word(),
    rule(
        "Replicate API Token",
        &["r8_"],
        r"r8_[A-Za-z0-9]{30,}",
        &["r8_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s"],
        "r8_unorm",
    )
    .word(),
    rule(
        "Groq API Key",
        &["gsk_"],
        r"gsk_[A-Za-z0-9]{40,}",
        &["gsk_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6"],
        "gsk_queue",
    )
    .word(),
    rule(
        "xAI API Key",
        &["xai-"],
        r"xai-[A-Za-z0-9]{60,}",
        &["xai-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g3H4"],
        "xai-grok",
    )
    .word(),
    rule(
        "Fireworks API Key",
        &["fw_"],
        r"fw_[A-Za-z0-9]{22,24}\b",
        &["fw_", "a1B2c3D4e5F6g7H8i9J0k1L2"],
        "fw_version",
    )
    .word()
    .check(Check::Random),
    rule(
        "Together AI Key",
        &["tgp_v1_"],
        r"tgp_v1_[A-Za-z0-9_-]{40,}",
        &["tgp_v1_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V"],
        "tgp_v1_key",
    ),
    rule(
        "Pinecone API Key",
        &["pcsk_"],
        r"pcsk_[A-Za-z0-9_]{40,}",
        &["pcsk_", "a1B2c_3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4"],
        "pcsk_env",
    )
    .word(),
    rule(
        "Perplexity API Key",
        &["pplx-"],
        r"pplx-[A-Za-z0-9]{40,}",
        &["pplx-", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4"],
        "pplx-7b-online",
    )
    .word(),
    // Messages and tickets
    rule(
        "Slack Token",
        &["xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.xox", "xoxo-", "xoxp-", "xoxr-", "xoxs-"],
        r"xox[a-e,o-s](?:\.xox[bp])?-[A-Za-z0-9%-]{14,}",
        &["xoxb-", "123456789012-1234567890123-a1B2c3D4e5F6g7H8i9J0k1L2"],
        "xoxb-TOKEN",
    )
    .core(),
    rule(
        "Slack App Token",
        &["xapp-"],
        r"xapp-[0-9]-[A-Z0-9]{8,}-[0-9]{8,}-[a-f0-9]{32,}",
        &["xapp-", "1-A0123456789-1234567890123-0a1b2c3d4e5f60718293a4b5c6d7e8f9"],
        "xapp-level",
    ),
    rule(
        "Slack Webhook",
        &["hooks.slack.com"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]{8,}/[A-Za-z0-9/]{20,}",
        &["https://hooks.slack.com/", "services/T01234567/B01234567/a1B2c3D4e5F6g7H8i9J0k1L2"],
        "https://hooks.slack.com/services/T000/B000/XXX",
    )
    .severity(Severity::High),
    rule(
        "Discord Webhook",
        &["/api/webhooks/"],
        r"/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,}",
        &[
            "https://discord.com/api/",
            "webhooks/123456789012345678/a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g3H4",
        ],
        "POST /api/webhooks/{id}/{token}",
    )
    .severity(Severity::High),
    rule(
        "Telegram Bot Token",
        &[":AA"],
        r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
        &["1234567890:", "AAHa1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"],
        "12:AA:BB:CC",
    )
    .lookback(11),
    rule(
        "Twilio API Key",
        &["SK"],
        r"SK[a-f0-9]{32}\b",
        &["SK", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"],
        "SKU0123456789",
    )
    .word(),
    rule(
        "SendGrid API Key",
        &["SG."],
        r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}",
        &["SG.", "a1B2c3D4e5F6g7H8i9J0k1.L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g"],
        "SG.country.code",
    )
    .word(),
    rule(
        "Mailgun API Key",
        &["key-"],
        r"key-[a-f0-9]{32}\b",
        &["key-", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"],
        "key-value",
    )
    .word(),
    rule(
        "Linear API Key",
        &["lin_api_", "lin_oauth_"],
        r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
        &["lin_api_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"],
        "lin_api_key",
    ),
    rule(
        "Notion API Key",
        &["ntn_", "secret_"],
        r"(?:ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43}\b)",
        &["ntn_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3"],
        "secret_name",
    )
    .word()
    .check(Check::Random),
    rule(
        "Figma Token",
        &["figd_"],
        r"figd_[A-Za-z0-9_-]{38,}",
        &["figd_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0"],
        "figd_x",
    )
    .word(),
    // Observability
    rule(
        "Sentry Auth Token",
        &["sntrys_", "sntryu_"],
        r"sntry(?:s_[A-Za-z0-9+/=_-]{40,}|u_[a-f0-9]{64})",
        &["sntrys_", "eyJpYXQiOjE3MDAwMDAwMDAsInVybCI6Imh0dHBzOi8vc2VudHJ5In0="],
        "sntrys_x",
    ),
    rule(
        "New Relic API Key",
        &["NRAK-"],
        r"NRAK-[A-Z0-9]{27}",
        &["NRAK-", "A1B2C3D4E5F6G7H8I9J0K1L2M3N"],
        "NRAK-KEY",
    ),
    rule(
        "Grafana Token",
        &["glsa_", "glc_ey"],
        r"(?:glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}|glc_ey[A-Za-z0-9+/=]{40,})",
        &["glsa_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6_0a1b2c3d"],
        "glsa_token",
    ),
    // Money
    rule(
        "Stripe Key",
        &["sk_live_", "rk_live_", "sk_test_", "rk_test_"],
        r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
        &["sk_live_", "a1B2c3D4e5F6g7H8i9J0k1L2"],
        "sk_live_KEY",
    ),
    rule(
        "Stripe Webhook Secret",
        &["whsec_"],
        r"whsec_[A-Za-z0-9+/]{24,}",
        &["whsec_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"],
        "whsec_secret",
    ),
    rule(
        "Square Token",
        &["sq0atp-", "sq0csp-"],
        r"sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}",
        &["sq0atp-", "a1B2c3D4e5F6g7H8i9J0k1"],
        "sq0atp-x",
    ),
    rule(
        "Shopify Token",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
        &["shpat_", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"],
        "shpat_token",
    ),
    rule(
        "Extended Private Key",
        &["xprv", "yprv", "zprv", "tprv"],
        r"[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,}",
        &[
            "xprv",
            "9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
        ],
        "xprv is a prefix",
    ),
    // Keys, tokens and URLs of no one vendor
    rule(
        "Private Key Header",
        &["PRIVATE KEY", "PRIVATEKEY"],
        r"-----BEGIN ?(?:[A-Z0-9]{2,12} ?){0,3}?PRIVATE ?KEY(?: ?BLOCK)?-----",
        &["-----BEGIN OPENSSH ", "PRIVATE KEY-----"],
        "-----BEGIN PUBLIC KEY----- is no PRIVATE KEY",
    )
    .core()
    .lookback(52),
    rule(
        "PuTTY Private Key",
        &["PuTTY-User-Key-File-"],
        r"(?i)PuTTY-User-Key-File-[0-9]: ",
        &["PuTTY-User-", "Key-File-3: ssh-ed25519"],
        "PuTTY-User-Key-File-Format",
    ),
    rule(
        "Age Secret Key",
        &["AGE-SECRET-KEY-1"],
        r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
        &["AGE-SECRET-", "KEY-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE"],
        "AGE-SECRET-KEY-1...",
    ),
    rule(
        "1Password Service Token",
        &["ops_eyJ"],
        r"ops_eyJ[A-Za-z0-9_-]{100,}",
        &[
            "ops_",
            "eyJzaWduSW5BZGRyZXNzIjoiZXhhbXBsZS4xcGFzc3dvcmQuY29tIiwidXNlckF1dGgiOnsibWV0aG9kIjoiU1JQZy00MDk2IiwiYWxnIjoiUEJFUzJnIn0",
        ],
        "ops_eyJ...",
    ),
    rule(
        "JWT Token",
        &["eyJ"],
        r"eyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{20,}",
        &["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.", "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"],
        "eyJub3QiOiJhbGdvIn0aaaa.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    )
    .check(Check::JoseHeader)
    .severity(Severity::High),
    rule(
        "Credential in URL",
        &["://"],
        r#"(?i)\b(?:https?|wss?|ftps?|sftp|ssh|postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|clickhouse|cockroachdb|ldaps?|smtps?|nats|mqtts?)://[^\s:/?#@'"<>]{0,80}:[^\s/?#@'"<>]{6,200}@[A-Za-z0-9\[]"#,
        &["postgres://", "admin:gV7pQ2xL9mT4@db.example.com:5432/app"],
        "postgres://user:password@localhost/db and https://host:8080/@scope/package",
    )
    .lookback(12)
    .check(Check::RealPassword)
    .severity(Severity::High),
];

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
