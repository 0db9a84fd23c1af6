// SPDX-License-Identifier: Apache-2.0
// What is rare or odd, one byte at a time and the same for all kernels.
#include <algorithm>
#include <optional>

#include "sip/kernel/kernel.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip::kernel {
namespace {

// NUL, or CR and LF that are no fold: a value with them cannot be sent again (rule 10.14).
bool HasUnsafeControls(std::string_view value) {
  for (std::size_t at = 0; at < value.size(); ++at) {
    const char c = value[at];
    const char next = at + 1 < value.size() ? value[at + 1] : '\0';
    if (c == '\0' || (c == '\r' && next != '\n') || (c == '\n' && next != ' ' && next != '\t')) {
      return true;
    }
  }
  return false;
}

// False when `value` is malformed.
bool ToField(const NameAddrView& value, AddressField* out) {
  std::optional<UriView> uri = UriView::Parse(value.uri);
  if (!uri) return false;
  out->display = value.display;
  out->uri = *uri;
  out->params = value.params;
  out->folded = value.text.find('\n') != value.text.npos;
  return true;
}

}  // namespace

OddLine AddOddLine(std::string_view bytes, std::uint32_t begin, std::uint32_t end,
                   kernel::HeaderTable* table, LineState* state) {
  const char first = bytes[begin];
  if (begin == end || (first == '\r' && begin + 1 == end)) return OddLine::kEndOfHeaders;
  if (first == ' ' || first == '\t') {
    // A line that starts with white space continues the one before (RFC 3261 7.3.1); the start line
    // cannot be continued.
    if (state->open == LineState::kStartLine) return OddLine::kContinuesStartLine;
    table->rows[state->open].end = end;
    return OddLine::kAdded;
  }
  const std::string_view line = bytes.substr(begin, end - begin);
  const std::size_t colon = line.find(':');
  // A line without a colon is no evidence of anything; the rest of the message may be.
  HeaderId id = HeaderId::kOther;
  if (colon != line.npos) id = HeaderIdFromName(TrimLws(line.substr(0, colon)));
  state->open = 0;
  if (id == HeaderId::kOther) return OddLine::kAdded;
  const auto chain = static_cast<std::size_t>(id);
  const std::uint32_t row = ++state->row;
  table->rows[row] = {begin + static_cast<std::uint32_t>(colon) + 1, end};
  table->next[row] = 0;
  table->next[table->last[chain]] = static_cast<std::uint16_t>(row);
  table->last[chain] = static_cast<std::uint16_t>(row);
  state->open = row;
  return OddLine::kAdded;
}

ParseResult CheckDuplicates(const kernel::ParsedMessage& parsed) {
  const kernel::HeaderTable& table = parsed.table;
  auto value = [&](std::size_t row) {
    const kernel::HeaderRow& where = table.rows[row];
    return TrimLws(parsed.bytes.substr(where.begin, where.end - where.begin));
  };
  for (HeaderId id : {HeaderId::kFrom, HeaderId::kTo, HeaderId::kCallId, HeaderId::kCseq,
                      HeaderId::kContentLength}) {
    const std::size_t first = table.First(id);
    if (first == 0) continue;
    for (std::size_t row = table.next[first]; row != 0; row = table.next[row]) {
      if (id != HeaderId::kContentLength || value(row) != value(first)) {
        return Fail(ParseError::kDuplicateHeader, table.rows[row].begin);
      }
    }
  }
  return {};
}

ParseResult TooManyRows(const kernel::HeaderTable& table) {
  return Fail(ParseError::kTooManyHeaders, table.rows[kernel::HeaderTable::kLastRow + 1].begin);
}

bool IsPrintable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; });
}

ParseResult ParseStartLineSlowly(std::string_view line, kernel::ParsedMessage* out) {
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
    out->status = static_cast<int>(*status);
    // "SIP/2.0 100" without the space before an empty reason is common; it says the same.
    out->reason = space == rest.npos ? std::string_view() : rest.substr(space + 1);
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
  out->method_text = line.substr(0, method_end);
  out->method = MethodFromString(out->method_text);
  std::optional<UriView> uri =
      UriView::Parse(line.substr(method_end + 1, uri_end - method_end - 1));
  // Headers have no place in a Request-URI, least of all a Route (RFC 4475 3.1.2.11).
  if (!uri || !uri->headers.empty()) return Fail(ParseError::kBadRequestUri, method_end + 1);
  out->request_uri = *uri;
  return {};
}

ParseResult ParseCseqSlowly(std::string_view value, std::size_t offset,
                            kernel::ParsedMessage* out) {
  std::size_t digits = 0;
  while (digits < value.size() && IsDigit(value[digits])) ++digits;
  std::optional<std::uint32_t> number = ParseUnsigned(value.substr(0, digits), 0xffffffffu);
  std::string_view method = TrimLws(value.substr(digits));
  if (!number || digits == value.size() || !IsLws(value[digits]) || !IsToken(method)) {
    return Fail(ParseError::kBadCseq, offset);
  }
  out->cseq = *number;
  if (out->status == 0) {
    if (method != out->method_text) return Fail(ParseError::kCseqMethodMismatch, offset);
  } else {
    out->method_text = method;
    out->method = MethodFromString(method);
  }
  return {};
}

ParseResult ReadPartySlowly(std::string_view value, std::size_t offset, AddressField* out,
                            std::string_view* tag) {
  std::optional<NameAddrView> party = NameAddrView::Parse(value);
  if (!party || !ToField(*party, out)) return Fail(ParseError::kBadNameAddr, offset);
  if (HasUnsafeControls(value)) return Fail(ParseError::kUnsafeBytes, offset);
  *tag = party->Param("tag").value_or(std::string_view());
  return {};
}

ParseResult ReadContactSlowly(std::string_view value, std::size_t offset, MessageFields* out) {
  out->contact = {};
  if (value == "*") return {};
  NameAddrView contact;
  if (NextNameAddr(&value, &contact) != ListStep::kValue || !ToField(contact, &out->contact)) {
    return Fail(ParseError::kBadNameAddr, offset);
  }
  ListStep step;
  while ((step = NextNameAddr(&value, &contact)) == ListStep::kValue) {
  }
  return step == ListStep::kError ? Fail(ParseError::kBadNameAddr, offset) : ParseResult{};
}

ListStep NextRouteSlowly(std::string_view* rest, UriView* uri) {
  NameAddrView entry;
  const ListStep step = NextNameAddr(rest, &entry);
  if (step != ListStep::kValue) return step;
  std::optional<UriView> split = UriView::Parse(entry.uri);
  // Route and Record-Route need <> (RFC 3261 20.30, 20.34).
  if (!split || !entry.in_brackets) return ListStep::kError;
  *uri = *split;
  return ListStep::kValue;
}

void ReadSessionExpiresSlowly(std::string_view value, MessageFields* out) {
  const std::size_t semicolon = value.find(';');
  out->session_expires =
      ParseUnsigned(TrimLws(value.substr(0, semicolon)), 0x7fffffffu).value_or(0);
  if (semicolon == value.npos) return;
  const std::string_view refresher =
      FindParam(value.substr(semicolon), "refresher").value_or(std::string_view());
  if (EqualsIgnoreCase(refresher, "uac")) out->refresher = Refresher::kUac;
  if (EqualsIgnoreCase(refresher, "uas")) out->refresher = Refresher::kUas;
}

}  // namespace sipheal::inline v0_1::sip::kernel
