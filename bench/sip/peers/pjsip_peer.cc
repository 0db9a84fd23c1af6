// SPDX-License-Identifier: Apache-2.0
// PJSIP as Asterisk is built with it (libasteriskpj).
//
// Its configuration would take Asterisk's malloc debugging in; the guard leaves that out.
#define _ASTERISK_ASTMM_H
#include <pjlib-util.h>
#include <pjlib.h>
#include <pjsip.h>
#include <pjsip_ua.h>

#include <cstdlib>

#include "bench/sip/peers/peer.h"

// Asterisk's build of the library asks its host for these.
extern "C" {
int ast_pjproject_max_log_level = 0;
int ast_option_pjproject_log_level = 0;
void* __ast_repl_malloc(size_t size, const char*, int, const char*) { return std::malloc(size); }
void __ast_free(void* block, const char*, int, const char*) { std::free(block); }
}

namespace sipheal::bench {
namespace {

pj_caching_pool caching_pool;
pj_pool_t* pool = nullptr;

std::string_view View(const pj_str_t& text) {
  return text.slen <= 0 ? std::string_view()
                        : std::string_view(text.ptr, static_cast<std::size_t>(text.slen));
}

UriFields Split(void* uri) {
  if (uri == nullptr) return {};
  void* bare = pjsip_uri_get_uri(uri);
  if (!PJSIP_URI_SCHEME_IS_SIP(bare) && !PJSIP_URI_SCHEME_IS_SIPS(bare)) return {};
  const auto* sip = static_cast<const pjsip_sip_uri*>(bare);
  return {View(sip->user), View(sip->host), static_cast<unsigned>(sip->port)};
}

const char* Version() { return pj_get_version(); }

bool Start() {
  pj_log_set_level(0);
  if (pj_init() != PJ_SUCCESS || pjlib_util_init() != PJ_SUCCESS) return false;
  pj_caching_pool_init(&caching_pool, nullptr, 0);
  pjsip_endpoint* endpoint = nullptr;
  if (pjsip_endpt_create(&caching_pool.factory, "bench", &endpoint) != PJ_SUCCESS) return false;
  // Registers the parser of Session-Expires.
  if (pjsip_timer_init_module(endpoint) != PJ_SUCCESS) return false;
  // As large as PJSIP's transports make them, and reused as they do.
  pool = pj_pool_create(&caching_pool.factory, "rdata", 4000, 4000, nullptr);
  return pool != nullptr;
}

void Release() { pj_pool_reset(pool); }

bool Read(const char* bytes, std::size_t size, Fields& fields) {
  pjsip_msg* message = pjsip_parse_msg(pool, const_cast<char*>(bytes), size, nullptr);
  if (message == nullptr) return false;
  fields = Fields();
  bool via_seen = false;
  bool contact_seen = false;
  for (pjsip_hdr* header = message->hdr.next; header != &message->hdr; header = header->next) {
    switch (header->type) {
      case PJSIP_H_FROM: {
        auto* from = reinterpret_cast<pjsip_from_hdr*>(header);
        fields.from = Split(from->uri);
        fields.from_tag = View(from->tag);
        break;
      }
      case PJSIP_H_TO: {
        auto* to = reinterpret_cast<pjsip_to_hdr*>(header);
        fields.to = Split(to->uri);
        fields.to_tag = View(to->tag);
        break;
      }
      case PJSIP_H_CALL_ID:
        fields.call_id = View(reinterpret_cast<pjsip_cid_hdr*>(header)->id);
        break;
      case PJSIP_H_CSEQ: {
        auto* cseq = reinterpret_cast<pjsip_cseq_hdr*>(header);
        fields.cseq = static_cast<unsigned>(cseq->cseq);
        fields.cseq_method = View(cseq->method.name);
        break;
      }
      case PJSIP_H_CONTACT:
        if (!contact_seen) {
          fields.contact = Split(reinterpret_cast<pjsip_contact_hdr*>(header)->uri);
          contact_seen = true;
        }
        break;
      case PJSIP_H_RECORD_ROUTE:
        if (fields.record_route_count < Fields::kMaxRoutes) {
          fields.record_routes[fields.record_route_count++] =
              Split(reinterpret_cast<pjsip_rr_hdr*>(header)->name_addr.uri);
        }
        break;
      case PJSIP_H_VIA:
        if (!via_seen) {
          auto* via = reinterpret_cast<pjsip_via_hdr*>(header);
          fields.via_host = View(via->sent_by.host);
          fields.via_port = static_cast<unsigned>(via->sent_by.port);
          fields.via_branch = View(via->branch_param);
          via_seen = true;
        }
        break;
      case PJSIP_H_OTHER:
        if (View(header->name) == "Session-Expires") {
          auto* expires = reinterpret_cast<pjsip_sess_expires_hdr*>(header);
          fields.session_expires = expires->sess_expires;
          fields.refresher = View(expires->refresher);
        }
        break;
      default:
        break;
    }
  }
  return true;
}

}  // namespace
}  // namespace sipheal::bench

extern "C" const sipheal::bench::Peer sipheal_bench_peer = {
    "PJSIP", sipheal::bench::Version, sipheal::bench::Start, sipheal::bench::Read,
    sipheal::bench::Release};
