// SPDX-License-Identifier: Apache-2.0
#include "sip/message_reader.h"

#include "sip/message_notes.h"
#include "sip/text.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::inline v0_1::sip {
namespace {

// More proxies than Max-Forwards allows cannot have recorded themselves (rule 10.14).
constexpr int kMaxRoutes = 70;
constexpr std::size_t kMaxAbilities = 512;

ParseResult Fail(ParseError error, const MessageView& view, std::string_view where) {
  const std::string_view all = view.bytes();
  const bool inside = where.data() >= all.data() && where.data() <= all.data() + all.size();
  return {error, inside ? static_cast<std::uint32_t>(where.data() - all.data()) : 0u};
}

// Puts a folded value on one line: CRLF and white space become one space (RFC 3261 7.3.1).
void Unfold(std::string_view value, std::string* out) {
  out->clear();
  for (std::size_t at = 0; at < value.size(); ++at) {
    const bool fold = (value[at] == '\r' && at + 2 < value.size() && value[at + 1] == '\n' &&
                       (value[at + 2] == ' ' || value[at + 2] == '\t')) ||
                      (value[at] == '\n' && at + 1 < value.size() &&
                       (value[at + 1] == ' ' || value[at + 1] == '\t'));
    if (!fold) {
      *out += value[at];
      continue;
    }
    while (at + 1 < value.size() && IsLws(value[at + 1])) ++at;
    if (!out->empty() && out->back() != ' ') *out += ' ';
  }
}

// Copies header parameters but for the tag, which is kept apart.
void AppendOtherParams(std::string_view params, std::string* out) {
  std::size_t begin = 0;
  while (begin < params.size()) {
    std::size_t end = begin + 1;
    bool quoted = false;
    while (end < params.size() && (quoted || params[end] != ';')) {
      if (params[end] == '"') quoted = !quoted;
      if (quoted && params[end] == '\\') ++end;
      ++end;
    }
    end = std::min(end, params.size());
    const std::string_view one = TrimLws(params.substr(begin, end - begin));
    if (!FindParam(one, "tag")) *out += one;
    begin = end;
  }
}

void ReadSessionExpires(std::string_view value, MessageRecord* record) {
  const std::size_t semicolon = value.find(';');
  record->session_expires =
      ParseUnsigned(TrimLws(value.substr(0, semicolon)), 0x7fffffffu).value_or(0);
  if (semicolon == value.npos) return;
  const std::string_view refresher =
      FindParam(value.substr(semicolon), "refresher").value_or(std::string_view());
  if (EqualsIgnoreCase(refresher, "uac")) record->refresher = 1;
  if (EqualsIgnoreCase(refresher, "uas")) record->refresher = 2;
}

// The methods that have rules of their own; a bit each.
void ReadAllow(std::string_view list, MessageRecord* record) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const Method method = MethodFromString(TrimLws(list.substr(0, comma)));
    if (method != Method::kOther) {
      record->allow =
          static_cast<std::uint16_t>(record->allow | (1u << static_cast<unsigned>(method)));
    }
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
  }
}

// The transport as the sender's Via names it, where the capture knows only "TCP".
Transport TrueTransport(Transport captured, Transport via) {
  if (captured == Transport::kUnknown) return via;
  if (captured == Transport::kTcp && IsStream(via)) return via;
  return captured;
}

}  // namespace

bool IsDialogMethod(Method method) {
  return method != Method::kRegister && method != Method::kPublish;
}

ParseResult MessageReader::ReadParty(std::string_view value, const MessageView& view,
                                     std::string* unfolded, std::string* text,
                                     std::string_view* tag, bool* has_tag) {
  Unfold(value, unfolded);
  std::optional<NameAddrView> party = NameAddrView::Parse(*unfolded);
  if (!party) return Fail(ParseError::kBadNameAddr, view, value);
  if (HasUnsafeBytes(*unfolded)) return Fail(ParseError::kUnsafeBytes, view, value);
  std::optional<std::string_view> found = party->Param("tag");
  // An empty tag is none: it can match nothing.
  *has_tag = found && !found->empty();
  *tag = found.value_or(std::string_view());
  text->assign(party->display);
  *text += '\x01';
  *text += party->uri;
  *text += '\x01';
  AppendOtherParams(party->params, text);
  return {};
}

ParseResult MessageReader::ReadContact(const MessageView& view) {
  contact_.clear();
  std::string_view value = view.Get(HeaderId::kContact);
  if (value.empty() || value == "*") return {};
  NameAddrView contact;
  ListStep step = NextNameAddr(&value, &contact);
  if (step != ListStep::kValue) return Fail(ParseError::kBadNameAddr, view, value);
  std::optional<UriView> uri = UriView::Parse(contact.uri);
  // Only SIP can be a dialog's target (RFC 3261 12.1.1).
  if (uri && uri->is_sip) contact_.assign(contact.uri);
  while ((step = NextNameAddr(&value, &contact)) == ListStep::kValue) {
  }
  if (step == ListStep::kError) return Fail(ParseError::kBadNameAddr, view, value);
  return {};
}

ParseResult MessageReader::ReadUriList(const MessageView& view, HeaderId id, std::string* out) {
  out->clear();
  ParseResult result;
  int count = 0;
  view.ForEach(id, [&](std::string_view value) {
    NameAddrView entry;
    for (;;) {
      const ListStep step = NextNameAddr(&value, &entry);
      if (step == ListStep::kEnd || !result.ok()) return;
      if (step == ListStep::kError || !entry.in_brackets || ++count > kMaxRoutes) {
        result = Fail(ParseError::kBadNameAddr, view, value);
        return;
      }
      *out += entry.uri;
      *out += '\n';
    }
  });
  return result;
}

ParseResult MessageReader::Read(const CapturedMessageView& message, const MessageView& view,
                                const ViaView& top_via, const Adjacency& adjacency,
                                MessageRecord* record) {
  *record = MessageRecord();
  record->is_request = view.is_request();
  record->method = view.method();
  record->method_text = view.method_text();
  record->cseq = view.cseq();
  record->status = static_cast<std::uint16_t>(view.status());
  std::uint64_t branch = HashBytes(top_via.branch);
  scratch_.clear();
  for (char c : top_via.host) scratch_ += Lower(c);
  branch = HashBytes(scratch_, branch + top_via.port);
  record->branch = branch;

  bool from_has_tag = false;
  if (ParseResult result = ReadParty(view.Get(HeaderId::kFrom), view, &from_raw_, &from_,
                                     &record->from_tag, &from_has_tag);
      !result.ok()) {
    return result;
  }
  if (ParseResult result = ReadParty(view.Get(HeaderId::kTo), view, &to_raw_, &to_, &record->to_tag,
                                     &record->has_to_tag);
      !result.ok()) {
    return result;
  }
  record->from = from_;
  record->to = to_;

  if (ParseResult result = ReadContact(view); !result.ok()) return result;
  record->contact = contact_;
  if (ParseResult result = ReadUriList(view, HeaderId::kRecordRoute, &record_route_);
      !result.ok()) {
    return result;
  }
  record->record_route = record_route_;
  if (view.is_request()) {
    if (ParseResult result = ReadUriList(view, HeaderId::kRoute, &route_); !result.ok()) {
      return result;
    }
    record->route = route_;
    // Of requests to the server only the scheme of the first matters (rule 2.10).
    const bool sips = EqualsIgnoreCase(view.request_uri().substr(0, 5), "sips:");
    if (adjacency.sent || sips) record->uri = view.request_uri();
    if (view.method() == Method::kNotify) {
      // "Event: refer;id=93809823": the id is the CSeq of the REFER (RFC 3515 2.4.6).
      std::string_view event = view.Get(HeaderId::kEvent);
      const std::size_t semicolon = event.find(';');
      if (semicolon != event.npos &&
          EqualsIgnoreCase(TrimLws(event.substr(0, semicolon)), "refer")) {
        record->cseq_bound =
            ParseUnsigned(FindParam(event.substr(semicolon), "id").value_or(""), 0x7fffffffu)
                .value_or(0);
      }
    }
  } else {
    record->rseq = record->status < 200 && view.Has(HeaderId::kRseq)
                       ? ParseUnsigned(view.Get(HeaderId::kRseq), 0xffffffffu).value_or(0)
                       : 0;
  }
  ReadSessionExpires(view.Get(HeaderId::kSessionExpires), record);
  // What the peer can do; what the server can is the successor's to say.
  if (view.method() == Method::kInvite && !adjacency.sent) {
    record->supported = view.Get(HeaderId::kSupported).substr(0, kMaxAbilities);
    view.ForEach(HeaderId::kAllow, [record](std::string_view list) { ReadAllow(list, record); });
    if (HasUnsafeBytes(record->supported)) record->supported = {};
  }
  notes_.clear();
  ReadNotes(view, &notes_);
  record->notes = notes_;
  sdp_.clear();
  if (std::string_view sdp = FindSdp(view); !sdp.empty()) AppendCompactSdp(sdp, &sdp_);
  record->sdp = sdp_;

  record->transport = TrueTransport(message.transport, top_via.transport);
  record->sighting.time_us = message.time.time_since_epoch().count();
  record->sighting.sequence = message.sequence;
  record->sighting.hash = HashMessage(view.bytes());
  // A copy that the capture cut short is the worse witness.
  record->sighting.rank =
      static_cast<std::uint8_t>(adjacency.rank + (view.body_truncated() ? 2 : 0));
  return {};
}

}  // namespace sipheal::inline v0_1::sip
