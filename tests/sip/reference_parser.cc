// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/reference_parser.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/uri.h"

namespace sipheal::testing {
namespace {

using sip::HeaderId;
using sip::ListStep;
using sip::NameAddrView;
using sip::ParseError;
using sip::UriView;

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool SameText(std::string_view a, std::string_view b) {
  const auto lower = [](std::string_view text) {
    std::string out(text);
    for (char& c : out) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
  };
  return lower(a) == lower(b);
}

bool IsTokenText(std::string_view text) {
  return !text.empty() && text.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789-.!%*_+`'~") == text.npos;
}

std::optional<std::uint32_t> Number(std::string_view text, std::uint32_t limit) {
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos) return std::nullopt;
  const std::size_t begin = std::min(text.find_first_not_of('0'), text.size() - 1);
  const std::string digits(text.substr(begin));
  if (digits.size() > 10 || std::stoull(digits) > limit) return std::nullopt;
  return static_cast<std::uint32_t>(std::stoull(digits));
}

struct Reference {
  ParseError error = ParseError::kNone;
  std::string_view method, uri, reason;
  int status = 0;
  std::uint32_t cseq = 0;
  bool truncated = false;
  std::string_view body;
  std::vector<std::pair<HeaderId, std::string_view>> rows;

  std::vector<std::string_view> Rows(HeaderId id) const {
    std::vector<std::string_view> values;
    for (const auto& [row_id, value] : rows) {
      if (row_id == id) values.push_back(value);
    }
    return values;
  }
  std::string_view First(HeaderId id) const {
    const std::vector<std::string_view> values = Rows(id);
    return values.empty() ? std::string_view() : values.front();
  }
};

}  // namespace

const std::vector<std::pair<std::string_view, HeaderId>>& ReferenceNames() {
  static const std::vector<std::pair<std::string_view, HeaderId>> kNames = {
      {"i", HeaderId::kCallId},
      {"m", HeaderId::kContact},
      {"e", HeaderId::kContentEncoding},
      {"l", HeaderId::kContentLength},
      {"c", HeaderId::kContentType},
      {"f", HeaderId::kFrom},
      {"k", HeaderId::kSupported},
      {"t", HeaderId::kTo},
      {"v", HeaderId::kVia},
      {"o", HeaderId::kEvent},
      {"x", HeaderId::kSessionExpires},
      {"Via", HeaderId::kVia},
      {"From", HeaderId::kFrom},
      {"To", HeaderId::kTo},
      {"Call-ID", HeaderId::kCallId},
      {"CSeq", HeaderId::kCseq},
      {"Contact", HeaderId::kContact},
      {"Record-Route", HeaderId::kRecordRoute},
      {"Route", HeaderId::kRoute},
      {"Max-Forwards", HeaderId::kMaxForwards},
      {"Content-Length", HeaderId::kContentLength},
      {"Content-Type", HeaderId::kContentType},
      {"Content-Encoding", HeaderId::kContentEncoding},
      {"Content-Disposition", HeaderId::kContentDisposition},
      {"Session-Expires", HeaderId::kSessionExpires},
      {"Min-SE", HeaderId::kMinSe},
      {"Supported", HeaderId::kSupported},
      {"Require", HeaderId::kRequire},
      {"Allow", HeaderId::kAllow},
      {"RSeq", HeaderId::kRseq},
      {"RAck", HeaderId::kRack},
      {"Event", HeaderId::kEvent},
      {"Replaces", HeaderId::kReplaces},
      {"Join", HeaderId::kJoin},
      {"X-CID", HeaderId::kOtherLegCallId},
      {"X-Call-ID", HeaderId::kOtherLegCallId},
      {"Expires", HeaderId::kExpires},
      {"Refer-Sub", HeaderId::kReferSub},
      {"Session-ID", HeaderId::kSessionId},
      {"Authorization", HeaderId::kAuthorization},
      {"WWW-Authenticate", HeaderId::kWwwAuthenticate},
      {"P-Charging-Vector", HeaderId::kChargingVector},
      {"Proxy-Authenticate", HeaderId::kProxyAuthenticate},
      {"Subscription-State", HeaderId::kSubscriptionState},
      {"Proxy-Authorization", HeaderId::kProxyAuthorization},
  };
  return kNames;
}

namespace {

HeaderId IdOf(std::string_view name) {
  for (const auto& [known, id] : ReferenceNames()) {
    if (SameText(known, name)) return id;
  }
  return HeaderId::kOther;
}

ParseError StartLine(std::string_view line, Reference* out) {
  if (line.size() > 7 && SameText(line.substr(0, 4), "SIP/")) {
    if (!SameText(line.substr(0, 8), "SIP/2.0 ")) return ParseError::kBadVersion;
    line.remove_prefix(8);
    const std::size_t space = line.find(' ');
    const std::string_view code = line.substr(0, space);
    const std::optional<std::uint32_t> status = Number(code, 699);
    if (code.size() != 3 || !status || *status < 100) return ParseError::kBadStatusCode;
    out->status = static_cast<int>(*status);
    if (space != line.npos) out->reason = line.substr(space + 1);
    return ParseError::kNone;
  }
  const std::size_t one = line.find(' ');
  if (one == line.npos || !IsTokenText(line.substr(0, one))) return ParseError::kBadStartLine;
  const std::size_t two = line.find(' ', one + 1);
  if (two == line.npos) return ParseError::kBadStartLine;
  if (two == one + 1) return ParseError::kBadRequestUri;
  const std::string_view version = line.substr(two + 1);
  if (!SameText(version, "SIP/2.0")) {
    return SameText(version.substr(0, 4), "SIP/") && version.size() > 4 &&
                   version.find(' ') == version.npos
               ? ParseError::kBadVersion
               : ParseError::kBadRequestUri;
  }
  out->method = line.substr(0, one);
  out->uri = line.substr(one + 1, two - one - 1);
  const std::optional<UriView> uri = UriView::Parse(out->uri);
  return uri && uri->headers.empty() ? ParseError::kNone : ParseError::kBadRequestUri;
}

ParseError HeaderLines(std::string_view* rest, Reference* out) {
  bool after_start_line = true;
  std::pair<HeaderId, std::string_view>* open = nullptr;
  std::size_t rows = 0;
  for (;;) {
    const std::size_t end = rest->find('\n');
    if (end == rest->npos) {
      return rows > 256 ? ParseError::kTooManyHeaders : ParseError::kNoEndOfHeaders;
    }
    std::string_view line = rest->substr(0, end);
    rest->remove_prefix(end + 1);
    if (line.empty() || line == "\r") break;
    if (line[0] == ' ' || line[0] == '\t') {
      if (after_start_line) return ParseError::kBadStartLine;
      if (open != nullptr) {
        const char* const begin = open->second.data();
        open->second = {begin, static_cast<std::size_t>(line.data() + line.size() - begin)};
      }
      continue;
    }
    after_start_line = false;
    open = nullptr;
    const std::size_t colon = line.find(':');
    if (colon == line.npos) continue;
    const HeaderId id = IdOf(Trim(line.substr(0, colon)));
    if (id == HeaderId::kOther) continue;
    ++rows;
    open = &out->rows.emplace_back(id, line.substr(colon + 1));
  }
  for (auto& [id, value] : out->rows) value = Trim(value);
  return rows > 256 ? ParseError::kTooManyHeaders : ParseError::kNone;
}

ParseError Required(Reference* out) {
  for (HeaderId id : {HeaderId::kFrom, HeaderId::kTo, HeaderId::kCallId, HeaderId::kCseq}) {
    if (out->Rows(id).size() > 1) return ParseError::kDuplicateHeader;
  }
  for (std::string_view value : out->Rows(HeaderId::kContentLength)) {
    if (value != out->First(HeaderId::kContentLength)) return ParseError::kDuplicateHeader;
  }
  for (HeaderId id :
       {HeaderId::kFrom, HeaderId::kTo, HeaderId::kCallId, HeaderId::kCseq, HeaderId::kVia}) {
    if (out->First(id).empty()) return ParseError::kMissingHeader;
  }
  for (char c : out->First(HeaderId::kCallId)) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f') return ParseError::kUnsafeBytes;
  }
  const std::string_view cseq = out->First(HeaderId::kCseq);
  const std::size_t digits = std::min(cseq.find_first_not_of("0123456789"), cseq.size());
  const std::optional<std::uint32_t> number = Number(cseq.substr(0, digits), 0xffffffffu);
  const std::string_view method = Trim(cseq.substr(digits));
  if (!number || method.size() + digits == cseq.size() || !IsTokenText(method)) {
    return ParseError::kBadCseq;
  }
  out->cseq = *number;
  if (out->status == 0 && method != out->method) return ParseError::kCseqMethodMismatch;
  out->method = method;
  return ParseError::kNone;
}

ParseError Body(std::string_view rest, Reference* out) {
  out->body = rest;
  if (out->Rows(HeaderId::kContentLength).empty()) return ParseError::kNone;
  const std::optional<std::uint32_t> length =
      Number(out->First(HeaderId::kContentLength), 0x7fffffffu);
  if (!length) return ParseError::kBadContentLength;
  out->truncated = *length > rest.size();
  out->body = rest.substr(0, *length);
  return ParseError::kNone;
}

void Append(std::string* out, std::string_view name, std::string_view value) {
  out->append(name).append("=[").append(value).append("]\n");
}

void AppendUri(std::string* out, std::string_view name, const UriView& uri) {
  out->append(name).append("\n");
  Append(out, " text", uri.text);
  Append(out, " scheme", uri.scheme);
  Append(out, " user", uri.user);
  Append(out, " host", uri.host);
  Append(out, " port", std::to_string(uri.port));
  Append(out, " params", uri.params);
  Append(out, " headers", uri.headers);
  Append(out, " sip", uri.is_sips ? "sips" : uri.is_sip ? "sip" : "");
}

void AppendVia(std::string* out, const sip::ViaView& via) {
  Append(out, "via host", via.host);
  Append(out, "via branch", via.branch);
  Append(out, "via received", via.received);
  Append(out, "via",
         std::to_string(via.port) + " " + std::to_string(via.rport) + " " +
             std::string(ToString(via.transport)));
}

std::string Error(ParseError error) { return "error: " + std::string(ToString(error)); }

bool Unsafe(std::string_view value) {
  std::string flat(value);
  for (std::string_view fold : {"\r\n ", "\r\n\t", "\n ", "\n\t"}) {
    for (std::size_t at = 0; (at = flat.find(fold, at)) != flat.npos;) {
      flat.replace(at, fold.size(), " ");
    }
  }
  return flat.find_first_of(std::string_view("\r\n\0", 3)) != flat.npos;
}

// The fields by the grammar of uri.h, a value at a time.
std::string ReferenceFields(const Reference& message) {
  std::string out;
  sip::ViaView via;
  std::string_view vias = message.First(HeaderId::kVia);
  if (NextVia(&vias, &via) != ListStep::kValue) return Error(ParseError::kBadVia);
  AppendVia(&out, via);
  for (HeaderId id : {HeaderId::kFrom, HeaderId::kTo}) {
    const std::optional<NameAddrView> party = NameAddrView::Parse(message.First(id));
    if (!party) return Error(ParseError::kBadNameAddr);
    if (Unsafe(message.First(id))) return Error(ParseError::kUnsafeBytes);
    Append(&out, "display", party->display);
    AppendUri(&out, "uri", *UriView::Parse(party->uri));
    Append(&out, "params", party->params);
    Append(&out, "tag", party->Param("tag").value_or(""));
  }
  std::string_view contacts = message.First(HeaderId::kContact);
  if (!contacts.empty() && contacts != "*") {
    NameAddrView contact;
    bool first = true;
    ListStep step;
    while ((step = NextNameAddr(&contacts, &contact)) == ListStep::kValue) {
      if (!std::exchange(first, false)) continue;
      AppendUri(&out, "contact", *UriView::Parse(contact.uri));
      Append(&out, "contact params", contact.params);
    }
    if (step == ListStep::kError || first) return Error(ParseError::kBadNameAddr);
  }
  const std::string_view expires = message.First(HeaderId::kSessionExpires);
  const std::size_t semicolon = std::min(expires.find(';'), expires.size());
  Append(&out, "expires",
         std::to_string(Number(Trim(expires.substr(0, semicolon)), 0x7fffffffu).value_or(0)));
  const std::string refresher(
      sip::FindParam(expires.substr(semicolon), "refresher").value_or(std::string_view()));
  Append(&out, "refresher",
         SameText(refresher, "uac")   ? "uac"
         : SameText(refresher, "uas") ? "uas"
                                      : "");
  int count = 0;
  for (std::string_view row : message.Rows(HeaderId::kRecordRoute)) {
    NameAddrView entry;
    ListStep step;
    while ((step = NextNameAddr(&row, &entry)) == ListStep::kValue) {
      if (!entry.in_brackets || ++count > 70) return Error(ParseError::kBadNameAddr);
      AppendUri(&out, "record-route", *UriView::Parse(entry.uri));
    }
    if (step == ListStep::kError) return Error(ParseError::kBadNameAddr);
  }
  return out;
}

}  // namespace

std::string ReadByReference(std::string_view bytes) {
  Reference message;
  if (bytes.empty()) return Error(ParseError::kEmpty);
  const std::size_t end = bytes.find('\n');
  if (end == bytes.npos) return Error(ParseError::kBadStartLine);
  std::string_view line = bytes.substr(0, end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  std::string_view rest = bytes.substr(end + 1);
  ParseError error = StartLine(line, &message);
  if (error == ParseError::kNone) error = HeaderLines(&rest, &message);
  if (error == ParseError::kNone) error = Required(&message);
  if (error == ParseError::kNone) error = Body(rest, &message);
  if (error != ParseError::kNone) return Error(error);
  std::string out;
  Append(&out, "method", message.method);
  Append(&out, "reason", message.reason);
  AppendUri(&out, "request-uri",
            message.status == 0 ? *UriView::Parse(message.uri) : sip::UriView());
  Append(&out, "status", std::to_string(message.status));
  Append(&out, "call-id", message.First(HeaderId::kCallId));
  Append(&out, "cseq", std::to_string(message.cseq));
  Append(&out, "body", message.body);
  Append(&out, "truncated", message.truncated ? "yes" : "no");
  for (int id = 1; id < sip::kHeaderIdCount; ++id) {
    for (std::string_view value : message.Rows(static_cast<HeaderId>(id))) {
      if (id == static_cast<int>(HeaderId::kContentLength)) continue;  // equal rows are one
      Append(&out, "row " + std::to_string(id), value);
    }
  }
  const std::string fields = ReferenceFields(message);
  return fields.starts_with("error: ") ? fields : out + fields;
}

std::string ReadByKernel(const sip::kernel::Kernel& kernel, std::string_view bytes,
                         std::size_t* offset) {
  static sip::MessageView view;  // what one message leaves behind must not show in the next
  static const auto fields = std::make_unique<sip::MessageFields>();
  sip::ParseResult result = kernel.ParseInto(bytes, &view);
  *offset = result.offset;
  if (!result.ok()) return Error(result.error);
  std::string out;
  Append(&out, "method", view.method_text());
  Append(&out, "reason", view.reason_phrase());
  AppendUri(&out, "request-uri", view.split_request_uri());
  Append(&out, "status", std::to_string(view.status()));
  Append(&out, "call-id", view.call_id());
  Append(&out, "cseq", std::to_string(view.cseq()));
  Append(&out, "body", view.body());
  Append(&out, "truncated", view.body_truncated() ? "yes" : "no");
  for (int id = 1; id < sip::kHeaderIdCount; ++id) {
    if (id == static_cast<int>(HeaderId::kContentLength)) continue;
    view.ForEach(static_cast<HeaderId>(id),
                 [&](std::string_view value) { Append(&out, "row " + std::to_string(id), value); });
  }
  result = kernel.read_fields(view, fields.get());
  *offset = result.offset;
  if (!result.ok()) return Error(result.error);
  AppendVia(&out, fields->top_via);
  for (bool is_from : {true, false}) {
    const sip::AddressField& party = is_from ? fields->from : fields->to;
    Append(&out, "display", party.display);
    AppendUri(&out, "uri", party.uri);
    Append(&out, "params", party.params);
    Append(&out, "tag", is_from ? fields->from_tag : fields->to_tag);
  }
  if (!fields->contact.uri.text.empty()) {
    AppendUri(&out, "contact", fields->contact.uri);
    Append(&out, "contact params", fields->contact.params);
  }
  Append(&out, "expires", std::to_string(fields->session_expires));
  Append(&out, "refresher",
         fields->refresher == sip::Refresher::kUac   ? "uac"
         : fields->refresher == sip::Refresher::kUas ? "uas"
                                                     : "");
  for (const UriView& uri : fields->record_route.uris()) AppendUri(&out, "record-route", uri);
  return out;
}

std::string Write(const sip::MessageView& view) {
  std::string out =
      view.is_request()
          ? std::string(view.method_text()) + ' ' + std::string(view.request_uri()) + " SIP/2.0"
          : "SIP/2.0 " + std::to_string(view.status()) + ' ' + std::string(view.reason_phrase());
  out += "\r\n";
  bool written[sip::kHeaderIdCount] = {};
  for (const auto& known : ReferenceNames()) {
    // Of the names of a field the first; the fields in one order.
    if (std::exchange(written[static_cast<int>(known.second)], true)) continue;
    view.ForEach(known.second, [&](std::string_view value) {
      out.append(known.first).append(": ").append(value).append("\r\n");
    });
  }
  return out.append("\r\n").append(view.body());
}

}  // namespace sipheal::testing
