// SPDX-License-Identifier: Apache-2.0
// sofia-sip.
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/su_alloc.h>

#include "bench/sip/peers/peer.h"

namespace sipheal::bench {
namespace {

msg_t* message = nullptr;

UriFields Split(const url_t& url) {
  return {View(url.url_user), View(url.url_host), Number(url.url_port)};
}

const char* Version() { return SIPHEAL_PEER_VERSION; }

bool Start() { return sip_default_mclass() != nullptr; }

void Release() {
  msg_destroy(message);
  message = nullptr;
}

bool Read(const char* bytes, std::size_t size, Fields& fields) {
  message = msg_make(sip_default_mclass(), 0, bytes, static_cast<ssize_t>(size));
  if (message == nullptr) return false;
  const sip_t* sip = sip_object(message);
  if (sip == nullptr || sip->sip_from == nullptr || sip->sip_to == nullptr ||
      sip->sip_call_id == nullptr || sip->sip_cseq == nullptr || sip->sip_via == nullptr) {
    return false;
  }
  fields = Fields();
  fields.from = Split(*sip->sip_from->a_url);
  fields.from_tag = View(sip->sip_from->a_tag);
  fields.to = Split(*sip->sip_to->a_url);
  fields.to_tag = View(sip->sip_to->a_tag);
  fields.call_id = View(sip->sip_call_id->i_id);
  fields.cseq = sip->sip_cseq->cs_seq;
  fields.cseq_method = View(sip->sip_cseq->cs_method_name);
  if (sip->sip_contact != nullptr) fields.contact = Split(*sip->sip_contact->m_url);
  for (const sip_record_route_t* route = sip->sip_record_route;
       route != nullptr && fields.record_route_count < Fields::kMaxRoutes; route = route->r_next) {
    fields.record_routes[fields.record_route_count++] = Split(*route->r_url);
  }
  fields.via_host = View(sip->sip_via->v_host);
  fields.via_port = Number(sip->sip_via->v_port);
  fields.via_branch = View(sip->sip_via->v_branch);
  if (sip->sip_session_expires != nullptr) {
    fields.session_expires = static_cast<unsigned>(sip->sip_session_expires->x_delta);
    fields.refresher = View(sip->sip_session_expires->x_refresher);
  }
  return true;
}

}  // namespace
}  // namespace sipheal::bench

extern "C" const sipheal::bench::Peer sipheal_bench_peer = {
    "sofia-sip", sipheal::bench::Version, sipheal::bench::Start, sipheal::bench::Read,
    sipheal::bench::Release};
