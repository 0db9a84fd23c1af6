// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/message_view.h"

#include <array>
#include <cstring>

#include "absl/strings/str_format.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

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

ParseResult Fail(ParseError error, std::size_t offset) {
  return {error, static_cast<std::uint32_t>(offset)};
}

}  // namespace

std::string_view ToString(ParseError error) {
  return kErrorNames[static_cast<std::size_t>(error) % kErrorNames.size()];
}

absl::Status ToStatus(const ParseResult& result) {
  if (result.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("SIP message not understood: %s: at byte %d",
                                                    ToString(result.error), result.offset));
}

std::string_view MessageView::Get(HeaderId id) const {
  const std::uint16_t at = first_[static_cast<std::size_t>(id)];
  return at == 0 ? std::string_view() : RowValue(rows_[at - 1]);
}

ParseResult MessageView::Parse(std::string_view bytes, const ParseLimits& limits) {
  first_.fill(0);
  last_.fill(0);
  row_count_ = 0;
  status_ = 0;
  body_truncated_ = false;
  method_ = Method::kOther;
  method_text_ = request_uri_ = reason_ = call_id_ = body_ = {};
  cseq_ = 0;
  bytes_ = bytes;
  size_ = bytes.size();
  if (bytes.empty()) return Fail(ParseError::kEmpty, 0);
  if (bytes.size() > limits.max_bytes) return Fail(ParseError::kTooLarge, limits.max_bytes);

  const char* const data = bytes.data();
  const std::size_t size = bytes.size();
  auto line_end = [data, size](std::size_t from) -> std::size_t {
    const void* found = std::memchr(data + from, '\n', size - from);
    return found == nullptr ? std::string_view::npos
                            : static_cast<std::size_t>(static_cast<const char*>(found) - data);
  };
  auto trim_cr = [data](std::size_t begin, std::size_t end) {
    return end > begin && data[end - 1] == '\r' ? end - 1 : end;
  };

  std::size_t end = line_end(0);
  if (end == std::string_view::npos) return Fail(ParseError::kBadStartLine, 0);
  if (ParseResult result = ParseStartLine(bytes.substr(0, trim_cr(0, end))); !result.ok()) {
    return result;
  }

  std::size_t at = end + 1;
  for (;;) {
    if (at >= size) return Fail(ParseError::kNoEndOfHeaders, size);
    end = line_end(at);
    if (end == std::string_view::npos) return Fail(ParseError::kNoEndOfHeaders, at);
    std::size_t stop = trim_cr(at, end);
    if (stop == at) return Finish(end + 1);  // the empty line
    // A line that starts with white space continues the one before (RFC 3261 7.3.1).
    std::size_t next = end + 1;
    while (next < size && (data[next] == ' ' || data[next] == '\t')) {
      end = line_end(next);
      if (end == std::string_view::npos) return Fail(ParseError::kNoEndOfHeaders, next);
      stop = trim_cr(next, end);
      next = end + 1;
    }
    const void* colon = std::memchr(data + at, ':', stop - at);
    // A line without a colon is no evidence of anything; the rest of the message may be.
    if (colon != nullptr) {
      const std::size_t name_end = static_cast<std::size_t>(static_cast<const char*>(colon) - data);
      const HeaderId id = HeaderIdFromName(TrimLws(bytes.substr(at, name_end - at)));
      if (id != HeaderId::kOther) {
        if (ParseResult result = AddRow(id, name_end + 1, stop); !result.ok()) return result;
      }
    }
    at = next;
  }
}

ParseResult MessageView::ParseStartLine(std::string_view line) {
  constexpr std::string_view kVersion = "SIP/2.0";
  if (line.size() > kVersion.size() && EqualsIgnoreCase(line.substr(0, 4), "SIP/")) {
    if (!EqualsIgnoreCase(line.substr(0, kVersion.size()), kVersion) ||
        line[kVersion.size()] != ' ') {
      return Fail(ParseError::kBadVersion, 0);
    }
    std::string_view rest = line.substr(kVersion.size() + 1);
    const std::size_t space = rest.find(' ');
    std::string_view code = rest.substr(0, space);
    std::optional<std::uint32_t> status = ParseUnsigned(code, 699);
    if (!status || code.size() != 3 || *status < 100) {
      return Fail(ParseError::kBadStatusCode, kVersion.size() + 1);
    }
    status_ = static_cast<int>(*status);
    // "SIP/2.0 100" without the space before an empty reason is common; it says the same.
    reason_ = space == rest.npos ? std::string_view() : rest.substr(space + 1);
    return {};
  }
  const std::size_t method_end = line.find(' ');
  if (method_end == line.npos || !IsToken(line.substr(0, method_end))) {
    return Fail(ParseError::kBadStartLine, 0);
  }
  const std::size_t uri_end = line.find(' ', method_end + 1);
  if (uri_end == line.npos) return Fail(ParseError::kBadStartLine, method_end);
  if (uri_end == method_end + 1) return Fail(ParseError::kBadRequestUri, uri_end);
  std::string_view version = line.substr(uri_end + 1);
  if (!EqualsIgnoreCase(version, kVersion)) {
    const bool is_version = version.size() > 4 && EqualsIgnoreCase(version.substr(0, 4), "SIP/") &&
                            version.find(' ') == version.npos;
    return Fail(is_version ? ParseError::kBadVersion : ParseError::kBadRequestUri, uri_end + 1);
  }
  method_text_ = line.substr(0, method_end);
  method_ = MethodFromString(method_text_);
  request_uri_ = line.substr(method_end + 1, uri_end - method_end - 1);
  std::optional<UriView> uri = UriView::Parse(request_uri_);
  // Headers have no place in a Request-URI, least of all a Route (RFC 4475 3.1.2.11).
  if (!uri || !uri->headers.empty()) return Fail(ParseError::kBadRequestUri, method_end + 1);
  return {};
}

ParseResult MessageView::AddRow(HeaderId id, std::size_t begin, std::size_t end) {
  const char* const data = bytes_.data();
  while (begin < end && IsLws(data[begin])) ++begin;
  while (end > begin && IsLws(data[end - 1])) --end;
  const std::size_t slot = static_cast<std::size_t>(id);
  if (first_[slot] != 0) {
    switch (id) {
      case HeaderId::kFrom:
      case HeaderId::kTo:
      case HeaderId::kCallId:
      case HeaderId::kCseq:
        return Fail(ParseError::kDuplicateHeader, begin);
      case HeaderId::kContentLength:
        if (Get(id) != bytes_.substr(begin, end - begin)) {
          return Fail(ParseError::kDuplicateHeader, begin);
        }
        return {};
      default:
        break;
    }
  }
  if (row_count_ == kMaxIndexedHeaders) return Fail(ParseError::kTooManyHeaders, begin);
  rows_[static_cast<std::size_t>(row_count_++)] = {static_cast<std::uint32_t>(begin),
                                                   static_cast<std::uint32_t>(end - begin), 0};
  const auto number = static_cast<std::uint16_t>(row_count_);
  if (first_[slot] == 0) {
    first_[slot] = number;
  } else {
    rows_[last_[slot] - 1].next = number;
  }
  last_[slot] = number;
  return {};
}

ParseResult MessageView::Finish(std::size_t body_begin) {
  for (HeaderId id :
       {HeaderId::kFrom, HeaderId::kTo, HeaderId::kCallId, HeaderId::kCseq, HeaderId::kVia}) {
    if (!Has(id) || Get(id).empty()) return Fail(ParseError::kMissingHeader, body_begin);
  }
  call_id_ = Get(HeaderId::kCallId);
  for (char c : call_id_) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f') {
      return Fail(ParseError::kUnsafeBytes,
                  static_cast<std::size_t>(call_id_.data() - bytes_.data()));
    }
  }
  if (ParseResult result = ParseCseq(); !result.ok()) return result;
  return ParseBody(body_begin);
}

ParseResult MessageView::ParseCseq() {
  std::string_view value = Get(HeaderId::kCseq);
  const std::size_t offset = static_cast<std::size_t>(value.data() - bytes_.data());
  std::size_t digits = 0;
  while (digits < value.size() && IsDigit(value[digits])) ++digits;
  std::optional<std::uint32_t> number = ParseUnsigned(value.substr(0, digits), 0xffffffffu);
  std::string_view method = TrimLws(value.substr(digits));
  if (!number || digits == value.size() || !IsLws(value[digits]) || !IsToken(method)) {
    return Fail(ParseError::kBadCseq, offset);
  }
  cseq_ = *number;
  if (is_request()) {
    if (method != method_text_) return Fail(ParseError::kCseqMethodMismatch, offset);
  } else {
    method_text_ = method;
    method_ = MethodFromString(method);
  }
  return {};
}

ParseResult MessageView::ParseBody(std::size_t body_begin) {
  body_ = bytes_.substr(body_begin);
  if (Has(HeaderId::kContentLength)) {
    std::string_view value = Get(HeaderId::kContentLength);
    std::optional<std::uint32_t> length = ParseUnsigned(value, 0x7fffffffu);
    if (!length) {
      return Fail(ParseError::kBadContentLength,
                  static_cast<std::size_t>(value.data() - bytes_.data()));
    }
    if (*length > body_.size()) {
      body_truncated_ = true;
    } else {
      body_ = body_.substr(0, *length);
    }
  }
  size_ = body_begin + body_.size();
  return {};
}

}  // namespace sipheal::inline v0_1::sip
