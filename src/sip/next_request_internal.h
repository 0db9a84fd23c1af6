// SPDX-License-Identifier: Apache-2.0
// What the variables and the text of the next request are both made of.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {

// InvalidArgument, with `what` it is, when the text is no URI.
absl::StatusOr<UriView> CheckedUri(std::string_view text, std::string_view what);

// That Call-ID, tags and parties are known, hold nothing unsafe, and read back as what they are.
absl::Status CheckIdentity(const DialogState& dialog);

// Where the next request goes, as views into the dialog.
struct WireTarget {
  UriView request_uri;
  std::span<const std::string> routes;
  std::optional<UriView> last_route;  // behind a strict router: the target
};

// As NextRequest.
absl::StatusOr<WireTarget> FindTarget(const DialogState& dialog);

// Nothing that the server sent can be missing behind what was captured.
inline bool TailIsKnown(const DialogState& dialog, const CseqPolicy& policy) {
  return policy.capture_is_complete && !dialog.from_stored_state;
}

// What the channel variables need besides the dialog.
struct CheckedVariables {
  UriView target;
  std::uint32_t cseq = 0;
  // For the o= line of the server's SDP; empty when no media server can continue that.
  std::optional<std::uint32_t> origin_version;
  bool has_media = false;
};

// Fails as RecoveryVariables does, and makes nothing.
absl::StatusOr<CheckedVariables> CheckVariables(const DialogState& dialog,
                                                const RecoveryOptions& options);

// Calls fn with the pieces of a URI as a Request-URI and a Route may hold it: without headers and
// `method` (RFC 3261 19.1.1, table 1).
template <typename Fn>
void ForRequestUri(const UriView& uri, Fn&& fn) {
  if (!uri.is_sip) return fn(uri.text);
  const std::size_t bare = uri.text.size() - uri.params.size() - uri.headers.size();
  std::string_view params = uri.params;
  if (!FindParam(params, "method")) return fn(uri.text.substr(0, bare + params.size()));
  fn(uri.text.substr(0, bare));
  while (!params.empty()) {
    const std::size_t end = params.find(';', 1);
    const std::string_view one = params.substr(0, end);
    if (!FindParam(one, "method")) fn(one);
    params = end == params.npos ? std::string_view() : params.substr(end);
  }
}

}  // namespace sipheal::inline v0_1::sip
