// SPDX-License-Identifier: Apache-2.0
// GNU oSIP (libosip2).
#include <osipparser2/osip_message.h>
#include <osipparser2/osip_parser.h>

#include "bench/sip/peers/peer.h"

namespace sipheal::bench {
namespace {

osip_message_t* message = nullptr;

UriFields Split(const osip_uri_t* uri) {
  if (uri == nullptr) return {};
  return {View(uri->username), View(uri->host), Number(uri->port)};
}

std::string_view Tag(osip_from_t* party) {
  osip_generic_param_t* tag = nullptr;
  osip_from_get_tag(party, &tag);
  return tag == nullptr ? std::string_view() : View(tag->gvalue);
}

const char* Version() { return SIPHEAL_PEER_VERSION; }

bool Start() { return parser_init() == 0; }

void Release() {
  osip_message_free(message);
  message = nullptr;
}

bool Read(const char* bytes, std::size_t size, Fields& fields) {
  if (osip_message_init(&message) != 0) return false;
  if (osip_message_parse(message, bytes, size) != 0) return false;
  fields = Fields();
  fields.from = Split(message->from->url);
  fields.from_tag = Tag(message->from);
  fields.to = Split(message->to->url);
  fields.to_tag = Tag(message->to);
  // oSIP takes the Call-ID apart at its '@'; the whole is not kept in one piece.
  const osip_call_id_t* call_id = message->call_id;
  const std::string_view number = View(call_id->number);
  fields.call_id = number;
  fields.cseq = Number(message->cseq->number);
  fields.cseq_method = View(message->cseq->method);
  osip_contact_t* contact = nullptr;
  if (osip_message_get_contact(message, 0, &contact) >= 0 && contact != nullptr) {
    fields.contact = Split(contact->url);
  }
  osip_record_route_t* route = nullptr;
  for (int at = 0; fields.record_route_count < Fields::kMaxRoutes &&
                   osip_message_get_record_route(message, at, &route) >= 0 && route != nullptr;
       ++at) {
    fields.record_routes[fields.record_route_count++] = Split(route->url);
    route = nullptr;
  }
  osip_via_t* via = nullptr;
  if (osip_message_get_via(message, 0, &via) < 0 || via == nullptr) return false;
  fields.via_host = View(via->host);
  fields.via_port = Number(via->port);
  osip_generic_param_t* branch = nullptr;
  osip_via_param_get_byname(via, const_cast<char*>("branch"), &branch);
  if (branch != nullptr) fields.via_branch = View(branch->gvalue);
  // It has no type for Session-Expires: a header by name, full or compact.
  osip_header_t* expires = nullptr;
  osip_message_header_get_byname(message, "session-expires", 0, &expires);
  if (expires == nullptr) osip_message_header_get_byname(message, "x", 0, &expires);
  if (expires != nullptr) {
    fields.session_expires = Number(expires->hvalue);
    const std::string_view value = View(expires->hvalue);
    constexpr std::string_view kName = "refresher=";
    if (const std::size_t at = value.find(kName); at != value.npos) {
      const std::string_view rest = value.substr(at + kName.size());
      fields.refresher = rest.substr(0, rest.find_first_of("; \t"));
    }
  }
  return true;
}

}  // namespace
}  // namespace sipheal::bench

extern "C" const sipheal::bench::Peer sipheal_bench_peer = {
    "libosip2", sipheal::bench::Version, sipheal::bench::Start, sipheal::bench::Read,
    sipheal::bench::Release};
