// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/uri.h"

#include <algorithm>
#include <array>

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

// The end of a quoted string that starts at text[at] == '"': the index behind the closing quote, or
// npos. A backslash takes the next character with it.
std::size_t SkipQuoted(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.npos;
}

// What a byte is to a URI; most are one of the first two.
enum class UriByte : std::uint8_t { kOther, kHost, kAt, kQuestion, kForbidden };

constexpr std::array<UriByte, 256> kUriBytes = [] {
  std::array<UriByte, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = static_cast<char>(i);
    if (i <= ' ' || i == 0x7f || c == '<' || c == '>' || c == '"') bytes[i] = UriByte::kForbidden;
    if (IsAlpha(c) || IsDigit(c) || c == '.' || c == '-' || c == '_') bytes[i] = UriByte::kHost;
  }
  bytes['@'] = UriByte::kAt;
  bytes['?'] = UriByte::kQuestion;
  return bytes;
}();

UriByte KindOf(char c) { return kUriBytes[static_cast<unsigned char>(c)]; }

// Where the first byte from `at` on is that is not one of the first two kinds, or somewhat before.
std::size_t SkipPlain(std::string_view text, std::size_t at) {
  const auto kind = [&](std::size_t i) { return static_cast<unsigned>(KindOf(text[at + i])); };
  for (; at + 8 <= text.size(); at += 8) {
    const unsigned kinds =
        kind(0) | kind(1) | kind(2) | kind(3) | kind(4) | kind(5) | kind(6) | kind(7);
    if (kinds > static_cast<unsigned>(UriByte::kHost)) break;
  }
  return at;
}

bool IsHostChar(char c) { return KindOf(c) == UriByte::kHost; }

// The colon behind a scheme; npos when there is none.
std::size_t FindSchemeEnd(std::string_view text) {
  if (text.empty() || !IsAlpha(text[0])) return text.npos;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ':') return i;
    if (!IsAlpha(c) && !IsDigit(c) && c != '+' && c != '-' && c != '.') return text.npos;
  }
  return text.npos;
}

// Reads "host", "host:port" or "[v6]:port" off the front of `text`. False when malformed.
bool TakeHostPort(std::string_view* text, std::string_view* host, std::uint16_t* port) {
  std::size_t at = 0;
  if (!text->empty() && text->front() == '[') {
    const std::size_t close = text->find(']');
    if (close == text->npos) return false;
    if (!IpAddress::Parse(text->substr(0, close + 1))) return false;
    at = close + 1;
  } else {
    while (at < text->size() && IsHostChar((*text)[at])) ++at;
  }
  if (at == 0) return false;
  *host = text->substr(0, at);
  *port = 0;
  // White space around the colon is allowed in Via only; it does no harm here.
  std::size_t colon = at;
  while (colon < text->size() && IsLws((*text)[colon])) ++colon;
  if (colon < text->size() && (*text)[colon] == ':') {
    std::size_t begin = colon + 1;
    while (begin < text->size() && IsLws((*text)[begin])) ++begin;
    std::size_t end = begin;
    while (end < text->size() && IsDigit((*text)[end])) ++end;
    std::optional<std::uint32_t> number = ParseUnsigned(text->substr(begin, end - begin), 65535);
    if (!number) return false;
    *port = static_cast<std::uint16_t>(*number);
    at = end;
  }
  text->remove_prefix(at);
  return true;
}

// Checks ";name[=value]..." up to a comma or the end; returns its size, or npos when malformed.
// Empty parameters (";;") are malformed (RFC 4475 3.1.2.1).
std::size_t ScanParams(std::string_view text) {
  std::size_t at = 0;
  for (;;) {
    std::size_t mark = at;
    while (mark < text.size() && IsLws(text[mark])) ++mark;
    if (mark == text.size() || text[mark] == ',') return at;
    if (text[mark] != ';') return text.npos;
    ++mark;
    while (mark < text.size() && IsLws(text[mark])) ++mark;
    std::size_t name = mark;
    while (mark < text.size() && IsTokenChar(text[mark])) ++mark;
    if (mark == name) return text.npos;
    at = mark;
    while (mark < text.size() && IsLws(text[mark])) ++mark;
    if (mark == text.size() || text[mark] != '=') continue;
    ++mark;
    while (mark < text.size() && IsLws(text[mark])) ++mark;
    if (mark < text.size() && text[mark] == '"') {
      mark = SkipQuoted(text, mark);
      if (mark == text.npos) return text.npos;
    } else {
      while (mark < text.size() && text[mark] != ';' && text[mark] != ',' && !IsLws(text[mark])) {
        if (text[mark] == '"' || text[mark] == '<' || text[mark] == '>') return text.npos;
        ++mark;
      }
    }
    at = mark;
  }
}

// Behind a value of a list: nothing, or a comma and another value.
bool TakeSeparator(std::string_view* rest) {
  *rest = TrimLws(*rest);
  if (rest->empty()) return true;
  if (rest->front() != ',') return false;
  rest->remove_prefix(1);
  *rest = TrimLws(*rest);
  return !rest->empty() && rest->front() != ',';
}

// Reads one name-addr or addr-spec with its parameters off the front of `rest`.
bool TakeNameAddr(std::string_view* rest, NameAddrView* value) {
  *value = NameAddrView();
  *rest = TrimLws(*rest);
  const std::string_view whole = *rest;
  std::size_t at = 0;
  if (!whole.empty() && whole[0] == '"') {
    at = SkipQuoted(whole, 0);
    if (at == whole.npos) return false;
    value->display = whole.substr(0, at);
    while (at < whole.size() && IsLws(whole[at])) ++at;
    if (at == whole.size() || whole[at] != '<') return false;
  } else {
    // The first character that cannot be in an unquoted display name or a bare URI decides.
    while (at < whole.size() && whole[at] != '<' && whole[at] != ',' && whole[at] != '"') ++at;
    if (at < whole.size() && whole[at] == '<') {
      value->display = TrimLws(whole.substr(0, at));
    } else {
      at = whole.npos;
    }
  }
  std::size_t end;
  if (at != whole.npos) {
    const std::size_t close = whole.find('>', at);
    if (close == whole.npos) return false;
    value->uri = whole.substr(at + 1, close - at - 1);
    value->in_brackets = true;
    end = close + 1;
  } else {
    // Without <>, everything from the first ';' is the header's, and a '?' or ',' cannot be in the
    // URI (RFC 3261 20.10).
    end = 0;
    while (end < whole.size() && whole[end] != ';' && whole[end] != ',' && !IsLws(whole[end]))
      ++end;
    value->uri = whole.substr(0, end);
    if (value->uri.find('?') != whole.npos) return false;
  }
  if (!UriView::Parse(value->uri)) return false;
  const std::size_t params = ScanParams(whole.substr(end));
  if (params == whole.npos) return false;
  value->params = TrimLws(whole.substr(end, params));
  value->text = whole.substr(0, end + params);
  *rest = whole.substr(end + params);
  return true;
}

}  // namespace

std::optional<UriView> UriView::Parse(std::string_view text) {
  UriView uri;
  uri.text = text;
  const std::size_t colon = FindSchemeEnd(text);
  if (colon == text.npos || colon + 1 == text.size()) return std::nullopt;
  uri.scheme = text.substr(0, colon);
  uri.is_sips = EqualsIgnoreCase(uri.scheme, "sips");
  uri.is_sip = uri.is_sips || EqualsIgnoreCase(uri.scheme, "sip");
  // One look at each byte behind the scheme: whether it may stand in a URI at all, and where '@'
  // and
  // '?' are. '@' must be escaped everywhere but between user and host, so the first one is that
  // one; the user part may hold ';' and '?' (RFC 4475 3.1.1.9).
  const std::size_t begin = colon + 1;
  std::size_t at = text.npos;
  std::size_t question = text.npos;
  for (std::size_t i = SkipPlain(text, begin); i < text.size(); ++i) {
    const UriByte kind = KindOf(text[i]);
    if (kind <= UriByte::kHost) continue;
    if (kind == UriByte::kForbidden) return std::nullopt;
    if (kind == UriByte::kQuestion) {
      question = std::min(question, i);
      continue;
    }
    if (uri.is_sip && (at != text.npos || i == begin)) return std::nullopt;
    at = i;
    question = text.npos;
  }
  if (!uri.is_sip) {
    const std::size_t semicolon = text.find(';', begin);
    if (semicolon != text.npos) uri.params = text.substr(semicolon);
    return uri;
  }
  std::size_t host = begin;
  if (at != text.npos) {
    uri.user = text.substr(begin, at - begin);
    host = at + 1;
  }
  const std::size_t headers = std::min(question, text.size());
  std::string_view rest = text.substr(host, headers - host);
  if (!TakeHostPort(&rest, &uri.host, &uri.port)) return std::nullopt;
  if (!rest.empty() && rest.front() != ';') return std::nullopt;
  uri.params = rest;
  uri.headers = text.substr(headers);
  return uri;
}

std::optional<std::string_view> FindParam(std::string_view params, std::string_view name) {
  std::size_t at = 0;
  while (at < params.size()) {
    while (at < params.size() && (params[at] == ';' || IsLws(params[at]))) ++at;
    const std::size_t begin = at;
    while (at < params.size() && params[at] != ';' && params[at] != '=' && !IsLws(params[at])) ++at;
    const std::string_view key = params.substr(begin, at - begin);
    while (at < params.size() && IsLws(params[at])) ++at;
    std::string_view value;
    if (at < params.size() && params[at] == '=') {
      ++at;
      while (at < params.size() && IsLws(params[at])) ++at;
      if (at < params.size() && params[at] == '"') {
        const std::size_t end = SkipQuoted(params, at);
        if (end == params.npos) return std::nullopt;
        value = params.substr(at + 1, end - at - 2);
        at = end;
      } else {
        const std::size_t start = at;
        while (at < params.size() && params[at] != ';' && !IsLws(params[at])) ++at;
        value = params.substr(start, at - start);
      }
    }
    if (!key.empty() && EqualsIgnoreCase(key, name)) return value;
    if (key.empty() && at < params.size() && params[at] != ';') ++at;
  }
  return std::nullopt;
}

std::optional<std::string_view> UriView::Param(std::string_view name) const {
  return FindParam(params, name);
}

Transport UriView::transport() const {
  std::optional<std::string_view> value = Param("transport");
  Transport asked = value ? TransportFromString(*value) : Transport::kUnknown;
  if (is_sips) {
    if (asked == Transport::kTcp || asked == Transport::kUnknown) return Transport::kTls;
    if (asked == Transport::kWs) return Transport::kWss;
  }
  return asked;
}

std::optional<NameAddrView> NameAddrView::Parse(std::string_view text) {
  NameAddrView value;
  if (!TakeNameAddr(&text, &value) || !TrimLws(text).empty()) return std::nullopt;
  return value;
}

ListStep NextNameAddr(std::string_view* rest, NameAddrView* value) {
  *rest = TrimLws(*rest);
  if (rest->empty()) return ListStep::kEnd;
  if (!TakeNameAddr(rest, value) || !TakeSeparator(rest)) return ListStep::kError;
  return ListStep::kValue;
}

bool ViaView::has_rfc3261_branch() const {
  constexpr std::string_view kCookie = "z9hG4bK";
  return branch.size() > kCookie.size() &&
         EqualsIgnoreCase(branch.substr(0, kCookie.size()), kCookie);
}

ListStep NextVia(std::string_view* rest, ViaView* value) {
  *value = ViaView();
  *rest = TrimLws(*rest);
  if (rest->empty()) return ListStep::kEnd;
  auto take_token = [rest]() {
    *rest = TrimLws(*rest);
    std::size_t size = 0;
    while (size < rest->size() && IsTokenChar((*rest)[size])) ++size;
    std::string_view token = rest->substr(0, size);
    rest->remove_prefix(size);
    *rest = TrimLws(*rest);
    return token;
  };
  auto take_slash = [rest]() {
    if (rest->empty() || rest->front() != '/') return false;
    rest->remove_prefix(1);
    return true;
  };
  // "SIP / 2.0 / UDP": white space is allowed around the slashes (rule 10.12).
  if (!EqualsIgnoreCase(take_token(), "SIP") || !take_slash() || take_token() != "2.0" ||
      !take_slash()) {
    return ListStep::kError;
  }
  std::string_view transport = take_token();
  if (transport.empty()) return ListStep::kError;
  value->transport = TransportFromString(transport);
  if (!TakeHostPort(rest, &value->host, &value->port)) return ListStep::kError;
  const std::size_t size = ScanParams(*rest);
  if (size == rest->npos) return ListStep::kError;
  const std::string_view params = rest->substr(0, size);
  rest->remove_prefix(size);
  value->branch = FindParam(params, "branch").value_or(std::string_view());
  std::string_view received = FindParam(params, "received").value_or(std::string_view());
  if (received.size() > 1 && received.front() == '[' && received.back() == ']') {
    received = received.substr(1, received.size() - 2);
  }
  value->received = received;
  if (std::optional<std::string_view> rport = FindParam(params, "rport")) {
    value->rport = static_cast<std::uint16_t>(ParseUnsigned(*rport, 65535).value_or(0));
  }
  return TakeSeparator(rest) ? ListStep::kValue : ListStep::kError;
}

}  // namespace sipheal::inline v0_1::sip
