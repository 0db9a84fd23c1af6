// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/sdp.h"

#include "sip/find_line_end.h"
#include "sip/sdp_lines.h"
#include "sip/sdp_view.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

// At most this many m= lines are read; no session has more, an attack may.
constexpr std::size_t kMaxMedia = 32;

// Takes the next word off a line.
std::string_view NextWord(std::string_view* line) {
  while (!line->empty() && line->front() == ' ') line->remove_prefix(1);
  const char* const begin = line->data();
  const char* const end = begin + line->size();
  const char* const stop = FindNear<' '>(begin, end);
  const char* const next = stop == end ? end : stop + 1;
  *line = {next, static_cast<std::size_t>(end - next)};
  return {begin, static_cast<std::size_t>(stop - begin)};
}

std::optional<SdpDirection> DirectionOf(std::string_view attribute) {
  if (attribute == "sendrecv") return SdpDirection::kSendRecv;
  if (attribute == "sendonly") return SdpDirection::kSendOnly;
  if (attribute == "recvonly") return SdpDirection::kRecvOnly;
  if (attribute == "inactive") return SdpDirection::kInactive;
  return std::nullopt;
}

bool IsZero(std::string_view address) { return address == "0.0.0.0"; }

std::string_view ConnectionAddress(std::string_view value) {
  NextWord(&value);  // IN
  NextWord(&value);  // IP4 or IP6
  std::string_view address = NextWord(&value);
  return address.substr(0, address.find('/'));  // a multicast TTL
}

}  // namespace

SdpOrigin ReadOrigin(std::string_view value) {
  // In the order of its members, from the left.
  return {NextWord(&value), NextWord(&value), NextWord(&value),
          NextWord(&value), NextWord(&value), NextWord(&value)};
}

void CopyOrigin(const SdpOrigin& origin, SdpSummary* summary) {
  summary->origin_user = origin.user;
  summary->origin_session_id = origin.session_id;
  summary->origin_version = origin.version;
  summary->origin_net_type = origin.net_type;
  summary->origin_address_type = origin.address_type;
  summary->origin_address = origin.address;
}

void SdpView::Read(std::string_view text) {
  origin_ = {};
  address_ = {};
  media_.clear();
  security_ = {};
  has_origin_ = false;
  zero_connection_ = false;
  SdpDirection session_direction = SdpDirection::kSendRecv;
  SdpMediaView* media = nullptr;
  bool media_ignored = false;
  std::string_view line;
  const auto end_media = [&](std::string_view rest) {
    if (media == nullptr || media_ignored || media->lines.empty()) return;
    media->lines = {media->lines.data(),
                    static_cast<std::size_t>(rest.data() - media->lines.data())};
  };
  for (std::string_view rest = text, before = rest; NextLine(&rest, &line); before = rest) {
    if (line.size() < 2 || line[1] != '=') continue;
    std::string_view value = line.substr(2);
    switch (line[0]) {
      case 'o':
        if (has_origin_) break;
        has_origin_ = true;
        origin_ = value;
        break;
      case 'c':
        if (media_ignored) break;
        (media != nullptr ? media->address : address_) = ConnectionAddress(value);
        break;
      case 'm': {
        end_media(before);
        media_ignored = media_.size() == kMaxMedia;
        if (media_ignored) break;
        const std::string_view type = NextWord(&value);
        const std::string_view port = NextWord(&value);
        const std::string_view protocol = NextWord(&value);
        const std::uint32_t number =
            ParseUnsigned(port.substr(0, port.find('/')), 65535).value_or(0);
        media_.push_back({type,
                          protocol,
                          value,
                          {},
                          rest,
                          static_cast<std::uint16_t>(number),
                          session_direction});
        media = &media_.back();
        if (media->protocol.find("SAVP") != media->protocol.npos) security_.sdes = true;
        break;
      }
      case 'a': {
        if (media_ignored) break;
        if (std::optional<SdpDirection> direction = DirectionOf(value)) {
          (media != nullptr ? media->direction : session_direction) = *direction;
        } else if (value.starts_with("crypto")) {
          security_.sdes = true;
        } else if (value.starts_with("fingerprint")) {
          security_.dtls = true;
        } else if (value.starts_with("ice-ufrag")) {
          security_.ice = true;
        }
        break;
      }
      default:
        break;
    }
  }
  end_media({text.data() + text.size(), 0});
  // The direction that speaks for the session is that of its first active line, audio before
  // others.
  const SdpMediaView* chosen = nullptr;
  for (const SdpMediaView& entry : media_) {
    if (entry.port == 0) continue;
    if (IsZero(entry.address.empty() ? address_ : entry.address)) zero_connection_ = true;
    if (chosen == nullptr || (chosen->type != "audio" && entry.type == "audio")) chosen = &entry;
  }
  direction_ = chosen != nullptr ? chosen->direction : session_direction;
  // DTLS-SRTP is no SDES, though its profile has SAVP in it, too.
  if (security_.dtls) security_.sdes = false;
}

void SdpView::CopyTo(SdpSummary* summary) const {
  constexpr std::string_view kRtpmap = "a=rtpmap:";
  summary->address = address_;
  summary->direction = direction_;
  summary->media.resize(media_.size());
  auto to = summary->media.begin();
  for (const SdpMediaView& from : media_) {
    to->type = from.type;
    to->port = from.port;
    to->protocol = from.protocol;
    to->formats = from.formats;
    to->address = from.address;
    to->direction = from.direction;
    to->rtpmaps.clear();
    std::string_view line;
    for (std::string_view rest = from.lines; NextLine(&rest, &line);) {
      if (!line.starts_with(kRtpmap)) continue;
      const std::string_view rtpmap = line.substr(kRtpmap.size());
      if (!IsDynamicRtpmap(rtpmap)) continue;
      if (!to->rtpmaps.empty()) to->rtpmaps += ',';
      to->rtpmaps += rtpmap;
    }
    ++to;
  }
}

std::optional<ParsedSdp> ParseSdp(std::string_view body) {
  SdpView view;
  view.Read(body);
  if (!view.has_origin() && view.media().empty()) return std::nullopt;
  ParsedSdp result;
  CopyOrigin(ReadOrigin(view.origin()), &result.summary);
  view.CopyTo(&result.summary);
  result.security = view.security();
  result.zero_connection = view.zero_connection();
  return result;
}

bool EndsWithinBody(const MessageView& message) {
  std::string_view rest = message.rest();
  if (message.body().empty()) return false;
  const auto ends_line = [](char c) { return c == '\r' || c == '\n' || c == '\0'; };
  if (!ends_line(message.body().back()) && !ends_line(rest.front())) return true;
  while (!rest.empty() && ends_line(rest.front())) rest.remove_prefix(1);
  // As lines of a session description begin, and no others of a SIP message.
  return rest.size() > 1 && rest[0] >= 'a' && rest[0] <= 'z' && rest[1] == '=';
}

std::string_view FindSdp(const MessageView& message) {
  if (message.body().empty() || message.body_truncated() ||
      (message.Has(HeaderId::kContentEncoding) &&
       !message.Get(HeaderId::kContentEncoding).empty())) {
    return {};
  }
  auto media_type = [](std::string_view value) {
    return TrimLws(value.substr(0, value.find(';')));
  };
  const std::string_view content_type = message.Get(HeaderId::kContentType);
  constexpr std::string_view kSdp = "application/sdp";
  if (content_type == kSdp || EqualsIgnoreCase(media_type(content_type), kSdp)) {
    if (message.Has(HeaderId::kContentDisposition) &&
        EqualsIgnoreCase(media_type(message.Get(HeaderId::kContentDisposition)), "early-session")) {
      return {};
    }
    return message.body();
  }
  if (!EqualsIgnoreCase(content_type.substr(0, 10), "multipart/")) return {};
  const std::size_t semicolon = content_type.find(';');
  if (semicolon == content_type.npos) return {};
  const std::string_view boundary =
      FindParam(content_type.substr(semicolon), "boundary").value_or(std::string_view());
  if (boundary.empty() || boundary.size() > 70) return {};
  // Parts lie between lines "--boundary"; each has header lines, an empty line, and its content.
  std::string_view rest = message.body();
  auto next_boundary = [boundary](std::string_view text, std::size_t from) {
    for (std::size_t at = text.find(boundary, from); at != text.npos;
         at = text.find(boundary, at + 1)) {
      if (at >= 2 && text[at - 1] == '-' && text[at - 2] == '-' &&
          (at == 2 || text[at - 3] == '\n')) {
        return at - 2;
      }
    }
    return text.npos;
  };
  std::size_t begin = next_boundary(rest, 0);
  while (begin != rest.npos) {
    std::size_t content = rest.find('\n', begin);
    if (content == rest.npos) return {};
    ++content;
    const std::size_t end = next_boundary(rest, content);
    if (end == rest.npos) return {};
    std::string_view part = rest.substr(content, end - content);
    bool is_sdp = false;
    bool is_early = false;
    std::string_view line;
    while (NextLine(&part, &line) && !line.empty()) {
      const std::size_t colon = line.find(':');
      if (colon == line.npos) continue;
      const HeaderId id = HeaderIdFromName(TrimLws(line.substr(0, colon)));
      const std::string_view value = media_type(line.substr(colon + 1));
      if (id == HeaderId::kContentType) is_sdp = EqualsIgnoreCase(value, "application/sdp");
      if (id == HeaderId::kContentDisposition) is_early = EqualsIgnoreCase(value, "early-session");
    }
    if (is_sdp && !is_early) return part;
    begin = end;
  }
  return {};
}

}  // namespace sipheal::inline v0_1::sip
