// SPDX-License-Identifier: Apache-2.0
#include "sip/message_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/hash/hash.h"
#include "sip/compact_sdp.h"
#include "sip/kernel/method_table.h"
#include "sip/message_notes.h"
#include "sip/party_text.h"
#include "sip/sdp_lines.h"
#include "sip/text.h"
#include "sip/unfold.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kMaxAbilities = 512;

ParseResult Malformed(const MessageView& view, std::string_view value) {
  return {ParseError::kBadNameAddr, static_cast<std::uint32_t>(value.data() - view.bytes().data())};
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

// The method that `*list` begins with, when it is one with rules of its own of eight letters at
// most, and a comma or the end stands right behind it, as nearly always.
bool TakePlainMethod(std::string_view* list, Method* method) {
  if (list->size() < 8) return false;
  constexpr std::uint64_t kOnes = 0x0101010101010101u;
  std::uint64_t word;
  std::memcpy(&word, list->data(), sizeof word);
  if constexpr (std::endian::native == std::endian::big) return false;
  const std::uint64_t commas = word ^ kOnes * ',';
  const std::uint64_t found = (commas - kOnes) & ~commas & (kOnes << 7);
  std::size_t size = 8;
  if (found != 0) {
    size = static_cast<std::size_t>(std::countr_zero(found)) / 8;
    word &= (std::uint64_t{1} << 8 * size) - 1;
  } else if (list->size() > 8 && (*list)[8] != ',') {
    return false;
  }
  const kernel::MethodSlot& slot = kernel::kMethodTable.slots[kernel::kMethodTable.SlotOf(word)];
  if (slot.word != word || slot.size != size) return false;
  *method = slot.method;
  list->remove_prefix(size);
  return true;
}

// The methods that have rules of their own; a bit each.
std::uint16_t ReadAllow(std::string_view list) {
  unsigned allow = 0;
  while (!list.empty()) {
    Method method = Method::kOther;
    if (!TakePlainMethod(&list, &method)) {
      const std::size_t comma = std::min(list.find(','), list.size());
      method = MethodFromString(TrimLws(list.substr(0, comma)));
      list.remove_prefix(comma);
    }
    if (method != Method::kOther) allow |= 1u << static_cast<unsigned>(method);
    if (!list.empty()) list.remove_prefix(1);
    if (!list.empty() && list.front() == ' ') list.remove_prefix(1);
  }
  return static_cast<std::uint16_t>(allow);
}

// The transport as the sender's Via names it, where the capture knows only "TCP".
Transport TrueTransport(Transport captured, Transport via) {
  if (captured == Transport::kUnknown) return via;
  if (captured == Transport::kTcp && IsStream(via)) return via;
  return captured;
}

// A value that stands in the message as it is kept: `Display <uri>` or `<uri>`, on one line and
// with no parameter but the tag. Most do; empty when it does not.
std::string_view PlainParty(const AddressField& field, std::string_view tag,
                            std::string_view value) {
  const std::size_t only_tag = tag.empty() ? 0 : std::string_view(";tag=").size() + tag.size();
  if (field.folded || field.params.size() != only_tag) return {};
  if (HasAny<kPartEnd>(tag)) return {};
  const char* const at = field.uri.text.data();
  const char* const end = at + field.uri.text.size();
  if (at == value.data() || at[-1] != '<' || end == value.data() + value.size() || *end != '>') {
    return {};
  }
  const char* begin = at - 1;
  if (!field.display.empty()) {
    if (begin - (field.display.data() + field.display.size()) != 1 || begin[-1] != ' ') return {};
    begin = field.display.data();
    if (HasAny<kPartEnd, '<'>(field.display)) return {};
  }
  return {begin, static_cast<std::size_t>(end + 1 - begin)};
}

// Anew in each process, so that nobody can choose two branches that have one hash.
const HashKeys& BranchKeys() {
  static const HashKeys keys = [] {
    HashKeys drawn;
    for (std::uint64_t i = 0; i < drawn.size(); ++i) drawn[i] = absl::Hash<std::uint64_t>()(i);
    return drawn;
  }();
  return keys;
}

// The transaction's key: the top Via's branch, and its sent-by, whose letter case says nothing.
std::uint64_t BranchOf(const ViaView& via) {
  constexpr std::uint64_t kLowerCase = 0x2020202020202020u;
  const HashKeys& keys = BranchKeys();
  return HashWords<kLowerCase>(via.host, HashWords(via.branch, 0, keys) + via.port, keys);
}

}  // namespace

bool IsDialogMethod(Method method) {
  return method != Method::kRegister && method != Method::kPublish;
}

// What is kept of From or To (party_text.h), put together in `*text` where it does not stand so in
// the message; folds become single spaces. `value` is all of it. False when it means something else
// without its folds.
bool MessageReader::KeepParty(const AddressField& field, std::string_view tag,
                              std::string_view value, std::string* text, std::string_view* kept) {
  *kept = PlainParty(field, tag, value);
  return !kept->empty() || WriteParty(field, tag, value, text, kept);
}

bool MessageReader::WriteParty(const AddressField& field, std::string_view tag,
                               std::string_view value, std::string* text, std::string_view* kept) {
  std::string_view display = field.display;
  std::string_view uri = field.uri.text;
  std::string_view params = field.params;
  if (field.folded) {
    Unfold(value, &unfolded_);
    std::optional<NameAddrView> flat = NameAddrView::Parse(unfolded_);
    if (!flat || flat->uri != uri || flat->Param("tag").value_or("") != tag) return false;
    display = flat->display;
    params = flat->params;
  }
  // What keeps the parts from each other cannot stand in one of them.
  if (display.find(kPartEnd) != display.npos || params.find(kPartEnd) != params.npos) return false;
  params_.clear();
  AppendOtherParams(params, &params_);
  params = params_;
  if (IsPlainParty(display, params)) {
    text->assign(display);
    *text += display.empty() ? "<" : " <";
    *text += uri;
    *text += '>';
  } else {
    text->assign(display);
    *text += kPartEnd;
    *text += uri;
    *text += kPartEnd;
    *text += params;
  }
  *kept = *text;
  return true;
}

// `*text` only grows: what is behind the present one is room.
std::string_view MessageReader::KeepRoutes(const RouteList& routes, std::string* text) {
  std::size_t size = 0;
  for (const UriView& uri : routes.uris()) size += uri.text.size() + 1;
  if (text->size() < size) text->resize(size);
  char* at = text->data();
  for (const UriView& uri : routes.uris()) {
    std::memcpy(at, uri.text.data(), uri.text.size());
    at += uri.text.size();
    *at++ = '\n';
  }
  return {text->data(), size};
}

// The methods that the list names. Those of one phone are mostly alike.
std::uint16_t MessageReader::AllowOf(std::string_view list) {
  if (list.size() > kMaxAbilities) return ReadAllow(list);
  if (!SameText(list, allow_text_)) {
    allow_text_ = list;  // first: it may find no memory
    allow_ = ReadAllow(list);
  }
  return allow_;
}

// As one list, on one line.
std::string_view MessageReader::KeepSupported(const MessageView& view) {
  std::string_view kept;
  view.ForEach(HeaderId::kSupported, [&](std::string_view list) {
    if (list.empty() || kept.size() > kMaxAbilities) return;
    if (kept.empty() && list.find('\n') == list.npos) {
      kept = list;
      return;
    }
    supported_ = kept;
    if (!kept.empty()) supported_ += ", ";
    Unfold(list, &unfolded_);
    supported_ += unfolded_;
    kept = supported_;
  });
  return kept;
}

ParseResult MessageReader::Read(const CapturedMessageView& message, const MessageView& view,
                                const MessageFields& fields, const Adjacency& adjacency,
                                MessageRecord* record) {
  // What not every message has. All else is written below or by the caller: clearing the record
  // takes longer than that, since g++ 12 does it by `rep stos` and `rep movs`.
  record->uri = record->route = record->contact = record->record_route = record->sdp =
      record->supported = {};
  record->cseq_bound = record->rseq = 0;
  record->allow = 0;
  record->sighting.hash = 0;
  record->is_request = view.is_request();
  record->method = view.method();
  record->method_text = view.method_text();
  record->vias = adjacency.vias;
  record->cseq = view.cseq();
  record->status = static_cast<std::uint16_t>(view.status());
  record->branch = BranchOf(fields.top_via);

  const std::string_view from = view.Get(HeaderId::kFrom);
  if (!KeepParty(fields.from, fields.from_tag, from, &from_, &record->from)) {
    return Malformed(view, from);
  }
  record->from_tag = fields.from_tag;
  const std::string_view to = view.Get(HeaderId::kTo);
  if (!KeepParty(fields.to, fields.to_tag, to, &to_, &record->to)) return Malformed(view, to);
  record->to_tag = fields.to_tag;
  record->has_to_tag = !fields.to_tag.empty();
  // Only SIP can be a dialog's target (RFC 3261 12.1.1).
  if (fields.contact.uri.is_sip) record->contact = fields.contact.uri.text;
  // Within a dialog nobody reads it (rule 2.4), but a NOTIFY may be what opens one (rule 7.5).
  if (!view.is_request() || !record->has_to_tag || record->method == Method::kNotify) {
    record->record_route = KeepRoutes(fields.record_route, &record_route_);
  }
  if (view.is_request()) {
    if (ParseResult result = routes_.Read(view, HeaderId::kRoute); !result.ok()) return result;
    record->route = KeepRoutes(routes_, &route_);
    // Of requests to the server only the scheme of the first matters (rule 2.10).
    if (adjacency.sent || view.split_request_uri().is_sips) record->uri = view.request_uri();
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
  record->message_size = view.size();
  record->session_expires = fields.session_expires;
  record->refresher = static_cast<std::uint8_t>(fields.refresher);
  // What the peer can do; what the server can is the successor's to say.
  if (view.method() == Method::kInvite && !adjacency.sent) {
    record->supported = KeepSupported(view).substr(0, kMaxAbilities);
    view.ForEach(HeaderId::kAllow, [&](std::string_view list) {
      record->allow = static_cast<std::uint16_t>(record->allow | AllowOf(list));
    });
    if (HasUnsafeBytes(record->supported)) record->supported = {};
  }
  notes_.clear();
  ReadNotes(view, &notes_);
  record->notes = notes_;
  const bool cut = IsBodyCut(view);
  if (const std::string_view sdp = cut ? std::string_view() : FindSdp(view); !sdp.empty()) {
    if (sdp_.size() < CompactSdpRoom(sdp)) sdp_.resize(CompactSdpRoom(sdp));
    record->sdp = {sdp_.data(), WriteCompactSdp(sdp, sdp_.data())};
  }

  record->transport = TrueTransport(message.transport, fields.top_via.transport);
  record->sighting.time_us = message.time.time_since_epoch().count();
  record->sighting.sequence = message.sequence;
  // A 100 leaves nothing but that it was there.
  if (record->status != 100) record->sighting.hash = HashMessage(view.bytes());
  // A copy that was cut short is the worse witness.
  record->sighting.rank = static_cast<std::uint8_t>(adjacency.rank + (cut ? 2 : 0));
  return {};
}

}  // namespace sipheal::inline v0_1::sip
