// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {

using sip::DialogRole;
using sip::Field;

void CheckIdentity(LegCheck& check) {
  check.Equal("call_id", check.state.call_id, check.call.call_id);
  const auto party = [&](const char* name, const sip::DialogParty& found, const Party& truth) {
    check.Equal(std::string(name) + ".uri", found.uri, truth.uri);
    check.Equal(std::string(name) + ".display", found.display, truth.display);
    check.Equal(std::string(name) + ".params", found.params, truth.params);
    check.Equal(std::string(name) + ".tag", found.tag, truth.tag);
  };
  const auto named = [&](const char* name, const sip::DialogParty& found, const Party& truth,
                         const std::vector<Naming>& since, Field field) {
    // Through losses, one of those since the last that was shown.
    for (auto naming = since.rbegin(); !check.lossless() && naming != since.rend(); ++naming) {
      const bool shown = std::any_of(naming->shown.begin(), naming->shown.end(),
                                     [&](const auto& set) { return check.All(set); });
      if (naming->party.uri == found.uri || shown) {
        if (shown && check.state.IsMissing(field)) return;
        return party(name, found, naming->party);
      }
    }
    party(name, found, truth);
  };
  named("local", check.state.local, check.leg.server_side.local, check.leg.local_names,
        Field::kLocalUri);
  named("remote", check.state.remote, check.leg.server_side.remote, check.leg.remote_names,
        Field::kRemoteUri);
  const bool opening_seen = check.OpeningSeen(true);
  const DialogRole role = check.call.server_called ? DialogRole::kUac : DialogRole::kUas;
  // Without any first INVITE, rule 2.12 takes an answer for that to the first one.
  if (check.state.role != role && opening_seen) {
    check.Fail("role", std::string(sip::ToString(check.state.role)),
               std::string(sip::ToString(role)));
  }
  if (check.state.role == DialogRole::kUnknown && !check.state.IsMissing(Field::kRole)) {
    check.Fail("role", "unknown without being in missing", std::string(sip::ToString(role)));
  }
}

}  // namespace sipheal::testing::generator
