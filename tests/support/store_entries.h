// SPDX-License-Identifier: Apache-2.0
// Sessions and journal entries for the tests of the SQL stores.
#pragma once

#include <string>
#include <vector>

#include "sipheal/session_store.h"

namespace sipheal::tests {

inline Session Leg(const std::string& id, const std::string& life = "life1",
                   std::uint32_t epoch = 0) {
  Session session;
  session.id = id;
  session.epoch = epoch;
  session.incarnation = {"ast1", life};
  session.call_id = id + "@192.0.2.1";
  session.local_tag = "as1";
  session.remote_tag = "phone1";
  session.channel_id = "1767225600.1";
  session.channel_name = "PJSIP/phone-00000001";
  session.endpoint = "phone";
  session.flow.stasis_app = "ivr";
  session.flow.bridge = BridgeMembership{"b1", "sales", "mixing", "softmix", false};
  return session;
}

inline std::vector<Session> Legs(int count, const std::string& prefix = "s",
                                 const std::string& life = "life1") {
  std::vector<Session> legs;
  for (int i = 0; i < count; ++i) legs.push_back(Leg(prefix + std::to_string(i), life));
  return legs;
}

inline std::vector<SessionKey> KeysOf(const std::vector<Session>& sessions) {
  std::vector<SessionKey> keys;
  for (const Session& session : sessions) keys.push_back(session.key());
  return keys;
}

inline JournalEntry Step(const Lease& lease, RecoveryStage stage) {
  JournalEntry entry;
  entry.session = lease.session;
  entry.fence = lease.fence;
  entry.stage = stage;
  entry.target = {"ast2", "life2"};
  entry.channel_id = "sipheal-" + lease.session.id + "-0-1";
  if (stage == RecoveryStage::kFinished) entry.outcome = Outcome::kRecovered;
  return entry;
}

}  // namespace sipheal::tests
