// SPDX-License-Identifier: Apache-2.0
// What a derivation needs room for, kept from one to the next so that nothing is allocated anew: a
// dialog in the making, the transactions that are its, and what was read of the facts once.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "sip/call_facts.h"
#include "sip/derive_proofs.h"
#include "sip/reused_list.h"
#include "sip/sdp_view.h"
#include "sip/uri_memo.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Hosts that may speak for the peer: those next to the server, and those that Contact and
// Record-Route of the opening transaction name by address (rule 12.2). Mostly a packet comes from
// one of the former; the names are read only for one that does not.
struct KnownHosts {
  std::vector<IpAddress> hosts;
  std::vector<TextId> named;  // Contacts and lists of URIs; those from `unread` on are no hosts yet
  std::size_t unread = 0;

  void Clear() {
    hosts.clear();
    named.clear();
    unread = 0;
  }
};

// A dialog while it is derived. Pointers are into CallFacts.
struct Draft {
  TagId local = 0;
  TagId remote = 0;
  // Initial INVITEs that were answered with 101-299 under this dialog's tags, lowest CSeq first.
  std::vector<const Transaction*> creating;
  // None of `creating` has its request: it may have been a re-INVITE.
  bool assumed = false;
  // Answers to one lost INVITE have several branches, and nothing tells which is the server's.
  bool contested = false;
  // The first of them, where it was an INVITE within the dialog; else nullptr.
  const AnswerFact* contested_reinvite = nullptr;
  // It is known from where the peer speaks within the dialog.
  bool path_shown = false;
  // Other requests of the server that show numbers which it used: initial INVITEs under the same
  // From tag (challenged, redirected, forked) and ACKs of refused INVITEs in the dialog.
  std::vector<const Transaction*> attempts;
  // INVITEs of the peer that look like the first and were refused under this dialog's tags.
  std::vector<const Transaction*> refused;
  std::vector<const Transaction*> own;     // in the dialog, sent by the server, lowest CSeq first
  std::vector<const Transaction*> theirs;  // in the dialog, sent by the peer, lowest CSeq first
  // Both sides are proved to hold the dialog with its INVITE usage.
  bool proved = false;
  // The 2xx to the initial INVITE, as far as known.
  const AnswerFact* created_by_2xx = nullptr;
  const Transaction* created_in = nullptr;
  mutable KnownHosts known_hosts;
  // As they go into the state.
  std::vector<std::string_view> route_set;
  std::vector<std::string_view> record_route;
  Proofs proofs;
  FieldSet missing;
  DialogState* state = nullptr;

  void Begin(TagId local_tag, TagId remote_tag) {
    local = local_tag;
    remote = remote_tag;
    for (auto* list : {&creating, &attempts, &refused, &own, &theirs}) list->clear();
    assumed = contested = path_shown = proved = false;
    created_by_2xx = contested_reinvite = nullptr;
    created_in = nullptr;
    known_hosts.Clear();
    route_set.clear();
    record_route.clear();
    proofs.Clear();
    missing = {};
    state = nullptr;
  }
};

// An offer with its answer, as far as they were captured.
struct Exchange {
  const MessageFact* offer = nullptr;
  const MessageFact* answer = nullptr;
  bool offered_by_server = false;
  // It is known to have come to its end, so what was not captured of it is in force all the same.
  bool accepted = false;
  const Transaction* transaction = nullptr;

  std::int64_t done_us() const {
    return (answer != nullptr ? answer : offer != nullptr ? offer : shown)->first.time_us;
  }
  const MessageFact* shown = nullptr;  // what was captured of it, when it is neither
  std::int64_t settled_us = 0;
  // Of an INVITE of which only the ACK was captured: by when it had been sent.
  std::int64_t begun_us = INT64_MAX;
};

struct FailedReinvite {
  const Transaction* transaction = nullptr;
  std::int64_t from_us = 0;
  std::int64_t until_us = 0;
  std::int64_t after_us = 0;              // it was not there before
  const MessageFact* executed = nullptr;  // what had been agreed within it; nullptr: nothing

  bool Covers(const MessageFact& fact) const {
    return fact.first.time_us > from_us && fact.first.time_us < until_us;
  }
  bool MayCover(const MessageFact& fact) const {
    return fact.first.time_us > after_us && fact.first.time_us < until_us;
  }
};

// A Contact that is said to have become the remote target.
struct TargetClaim {
  const MessageFact* fact = nullptr;  // that has the Contact; nullptr: there is none
  const Transaction* transaction = nullptr;
  std::int64_t since = INT64_MIN;  // when it became that
  EvidenceReason reason;

  explicit operator bool() const { return fact != nullptr; }
};

// A number that the server is said to have used.
struct CseqClaim {
  std::uint32_t cseq;
  const MessageFact* fact;
  Reason reason;
  bool answered;
};

struct WireAddress {
  std::vector<std::string_view> route_set;
  std::string_view target;
};

// What is asked of one transaction again and again.
struct KnownTransaction {
  const AnswerFact* final = nullptr;
  const Draft* final_of = nullptr;  // the dialog that it was looked for last; nullptr: none
  bool ack_known = false;
  bool ack_for_2xx = false;
  bool ack_proved = false;
};

struct Workspace {
  ReusedList<Draft> drafts;
  std::vector<TagId> canonical;
  std::vector<char> genuine;  // by tag: its owner wrote it so
  std::vector<KnownTransaction> transactions;
  UriMemo uris;
  // Session descriptions but for their o= lines, by text; the oldest makes room.
  struct ReadSdp {
    TextId text = 0;
    SdpView view;
  };
  std::array<ReadSdp, 4> sdps;
  std::size_t next_sdp = 0;
  std::vector<Exchange> exchanges;
  std::vector<Exchange> exchanges_in_order;
  std::vector<FailedReinvite> failed;
  std::vector<CseqClaim> claims;
  std::vector<std::pair<std::uint32_t, std::int64_t>> sent;  // CSeq and time
  WireAddress loose;
  WireAddress strict;
};

}  // namespace sipheal::inline v0_1::sip
