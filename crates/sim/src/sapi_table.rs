//! The venue's calls beside spot trading (`/sapi`): wallet, convert, margin, earn, sub-accounts, keys, streams.

use crate::endpoints::{Endpoint, Kind, Param, Security, Weight, may, must};
use crate::keys::Right;

const fn signed(
    method: &'static str,
    path: &'static str,
    right: Right,
    weight: u32,
    params: &'static [&'static [Param]],
) -> Endpoint {
    Endpoint {
        method,
        path,
        security: Security::Signed(right),
        weight: Weight::Flat(weight),
        orders: 0,
        params,
    }
}

const fn key_only(
    method: &'static str,
    path: &'static str,
    params: &'static [&'static [Param]],
) -> Endpoint {
    Endpoint {
        method,
        path,
        security: Security::KeyOnly,
        weight: Weight::Flat(1),
        orders: 0,
        params,
    }
}

const ASSET_AMOUNT: &[Param] = &[must("asset", Kind::Text), must("amount", Kind::Decimal)];
const EMAIL: &[Param] = &[must("email", Kind::Text)];
const LISTEN: &[Param] = &[must("listenKey", Kind::Text)];

/// `/sapi`. What is not named among the parameters is ignored there, as at the real venue.
pub static SAPI: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/sapi/v1/system/status",
        security: Security::Public,
        weight: Weight::Flat(1),
        orders: 0,
        params: &[],
    },
    signed(
        "GET",
        "/sapi/v1/capital/config/getall",
        Right::Read,
        10,
        &[],
    ),
    signed(
        "POST",
        "/sapi/v1/capital/withdraw/apply",
        Right::Withdraw,
        600,
        &[&[
            must("coin", Kind::Text),
            must("address", Kind::Text),
            must("amount", Kind::Decimal),
            may("network", Kind::Text),
            may("addressTag", Kind::Text),
            may("withdrawOrderId", Kind::Text),
            may("transactionFeeFlag", Kind::Bool),
            may("name", Kind::Text),
            may("walletType", Kind::Int),
        ]],
    ),
    signed(
        "GET",
        "/sapi/v1/capital/withdraw/history",
        Right::Read,
        2,
        &[],
    ),
    signed(
        "GET",
        "/sapi/v1/capital/deposit/hisrec",
        Right::Read,
        1,
        &[],
    ),
    signed(
        "GET",
        "/sapi/v1/capital/deposit/address",
        Right::Read,
        10,
        &[&[must("coin", Kind::Text), may("network", Kind::Text)]],
    ),
    signed(
        "POST",
        "/sapi/v1/asset/transfer",
        Right::UniversalTransfer,
        900,
        &[
            ASSET_AMOUNT,
            &[
                must("type", Kind::Text),
                may("fromSymbol", Kind::Text),
                may("toSymbol", Kind::Text),
            ],
        ],
    ),
    signed(
        "GET",
        "/sapi/v1/asset/transfer",
        Right::Read,
        1,
        &[&[must("type", Kind::Text)]],
    ),
    signed(
        "GET",
        "/sapi/v1/account/apiRestrictions",
        Right::Read,
        1,
        &[],
    ),
    signed("GET", "/sapi/v1/account/status", Right::Read, 1, &[]),
    signed(
        "GET",
        "/sapi/v1/account/apiTradingStatus",
        Right::Read,
        1,
        &[],
    ),
    signed("GET", "/sapi/v1/account/info", Right::Read, 1, &[]),
    signed("GET", "/sapi/v1/asset/tradeFee", Right::Read, 1, &[]),
    signed(
        "POST",
        "/sapi/v1/asset/get-funding-asset",
        Right::Read,
        1,
        &[],
    ),
    signed("POST", "/sapi/v3/asset/getUserAsset", Right::Read, 5, &[]),
    signed(
        "POST",
        "/sapi/v1/convert/getQuote",
        Right::Invest,
        200,
        &[&[
            must("fromAsset", Kind::Text),
            must("toAsset", Kind::Text),
            may("fromAmount", Kind::Decimal),
            may("toAmount", Kind::Decimal),
        ]],
    ),
    signed(
        "POST",
        "/sapi/v1/convert/acceptQuote",
        Right::Invest,
        500,
        &[&[must("quoteId", Kind::Text)]],
    ),
    signed(
        "POST",
        "/sapi/v1/margin/borrow-repay",
        Right::Margin,
        1500,
        &[
            ASSET_AMOUNT,
            &[
                must("isIsolated", Kind::Text),
                must("type", Kind::Text),
                may("symbol", Kind::Text),
            ],
        ],
    ),
    signed("GET", "/sapi/v1/margin/account", Right::Read, 10, &[]),
    signed(
        "POST",
        "/sapi/v1/simple-earn/flexible/subscribe",
        Right::Invest,
        1,
        &[&[must("productId", Kind::Text), must("amount", Kind::Decimal)]],
    ),
    signed(
        "POST",
        "/sapi/v1/sub-account/universalTransfer",
        Right::InternalTransfer,
        360,
        &[
            ASSET_AMOUNT,
            &[
                must("fromAccountType", Kind::Text),
                must("toAccountType", Kind::Text),
                may("toEmail", Kind::Text),
                may("fromEmail", Kind::Text),
            ],
        ],
    ),
    signed("GET", "/sapi/v1/sub-account/list", Right::Read, 1, &[]),
    signed(
        "POST",
        "/sapi/v1/sub-account/virtualSubAccount",
        Right::Admin,
        1,
        &[&[must("subAccountString", Kind::Text)]],
    ),
    signed(
        "POST",
        "/sapi/v1/sub-account/subAccountApi",
        Right::Admin,
        1,
        &[EMAIL],
    ),
    key_only("POST", "/sapi/v1/userDataStream", &[]),
    key_only("PUT", "/sapi/v1/userDataStream", &[LISTEN]),
    key_only("DELETE", "/sapi/v1/userDataStream", &[LISTEN]),
    key_only("POST", "/sapi/v1/userListenToken", &[]),
];
