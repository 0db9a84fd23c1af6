// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/message_view.h"

#include <array>

#include "absl/strings/str_format.h"
#include "sip/kernel/kernel.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::array<std::string_view, 17> kErrorNames = {
    "no error",
    "the message is empty",
    "the message is too large",
    "the start line is malformed (RFC 3261 7.1, 7.2)",
    "the version is not SIP/2.0 (RFC 3261 7.1)",
    "the status code is not between 100 and 699 (RFC 3261 7.2)",
    "the Request-URI is malformed (RFC 3261 7.1, 19.1)",
    "there are too many header fields",
    "the empty line after the header fields is missing (RFC 3261 7)",
    "a header field that may stand once stands twice (RFC 3261 7.3.1)",
    "From, To, Call-ID, CSeq or Via is missing (RFC 3261 8.1.1)",
    "CSeq is malformed or above 2^32-1 (RFC 3261 20.16)",
    "the method of CSeq is not the method of the request (RFC 3261 8.1.1.5)",
    "Content-Length is not a number (RFC 3261 20.14)",
    "Via is malformed (RFC 3261 20.42)",
    "From, To, Contact, Route or Record-Route is malformed (RFC 3261 20.10)",
    "a value holds CR, LF or NUL",
};

}  // namespace

std::string_view ToString(ParseError error) {
  return kErrorNames[static_cast<std::size_t>(error) % kErrorNames.size()];
}

absl::Status ToStatus(const ParseResult& result) {
  if (result.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("SIP message not understood: %s: at byte %d",
                                                    ToString(result.error), result.offset));
}

ParseResult MessageView::Parse(std::string_view bytes, const ParseLimits& limits) {
  return kernel::BestKernel().ParseInto(bytes, this, limits);
}

}  // namespace sipheal::inline v0_1::sip
