// SPDX-License-Identifier: Apache-2.0
// libre, the library under baresip.
// <re/re.h> needs them and does not include them.
#include <cstddef>
#include <cstdint>

#include <re/re.h>

#include <algorithm>

#include "bench/sip/peers/peer.h"

namespace sipheal::bench {
namespace {

sip_msg* message = nullptr;
mbuf* buffer = nullptr;

std::string_view View(const pl& text) { return {text.p, text.l}; }

UriFields Split(const uri& part) { return {View(part.user), View(part.host), part.port}; }

const char* Version() { return SIPHEAL_PEER_VERSION; }

bool Start() { return libre_init() == 0; }

void Release() {
  message = static_cast<sip_msg*>(mem_deref(message));
  buffer = static_cast<mbuf*>(mem_deref(buffer));
}

bool AddRoute(const sip_hdr* header, const sip_msg*, void* argument) {
  Fields& fields = *static_cast<Fields*>(argument);
  sip_addr route;
  if (fields.record_route_count == Fields::kMaxRoutes ||
      sip_addr_decode(&route, &header->val) != 0) {
    return true;
  }
  fields.record_routes[fields.record_route_count++] = Split(route.uri);
  return false;
}

bool Read(const char* bytes, std::size_t size, Fields& fields) {
  // The buffer of a received message; libre reads from it in place.
  buffer = mbuf_alloc(size);
  if (buffer == nullptr ||
      mbuf_write_mem(buffer, reinterpret_cast<const uint8_t*>(bytes), size) != 0)
    return false;
  buffer->pos = 0;
  if (sip_msg_decode(&message, buffer) != 0) return false;
  fields = Fields();
  fields.from = Split(message->from.uri);
  fields.from_tag = View(message->from.tag);
  fields.to = Split(message->to.uri);
  fields.to_tag = View(message->to.tag);
  fields.call_id = View(message->callid);
  fields.cseq = message->cseq.num;
  fields.cseq_method = View(message->cseq.met);
  if (const sip_hdr* header = sip_msg_hdr(message, SIP_HDR_CONTACT)) {
    sip_addr contact;
    if (sip_addr_decode(&contact, &header->val) != 0) return false;
    fields.contact = Split(contact.uri);
  }
  sip_msg_hdr_apply(message, true, SIP_HDR_RECORD_ROUTE, AddRoute, &fields);
  pl host;
  pl port;
  if (uri_decode_hostport(&message->via.sentby, &host, &port) != 0) return false;
  fields.via_host = View(host);
  fields.via_port = pl_isset(&port) ? pl_u32(&port) : 0;
  fields.via_branch = View(message->via.branch);
  if (const sip_hdr* header = sip_msg_hdr(message, SIP_HDR_SESSION_EXPIRES)) {
    // libre has no decoder for it; pl_u32 takes nothing but digits.
    const std::string_view value = View(header->val);
    const pl seconds = {value.data(), std::min(value.find(';'), value.size())};
    fields.session_expires = pl_u32(&seconds);
    if (const std::size_t at = value.find(';'); at != value.npos) {
      const pl params = {value.data() + at, value.size() - at};
      pl refresher;
      if (msg_param_decode(&params, "refresher", &refresher) == 0) {
        fields.refresher = View(refresher);
      }
    }
  }
  return true;
}

}  // namespace
}  // namespace sipheal::bench

extern "C" const sipheal::bench::Peer sipheal_bench_peer = {
    "libre", sipheal::bench::Version, sipheal::bench::Start, sipheal::bench::Read,
    sipheal::bench::Release};
