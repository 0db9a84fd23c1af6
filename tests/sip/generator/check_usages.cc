// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {

// Those that are open; through losses, none that never was.
void CheckUsages(LegCheck& check) {
  const auto name = [](const std::string& event, const std::string& id, bool by_server) {
    return event + ";id=" + id + (by_server ? " by the server" : " by the peer");
  };
  std::set<std::string> found;
  for (const sip::DialogUsage& usage : check.state.usages) {
    std::string text = name(usage.event, usage.id, usage.server_subscribes);
    if (check.lossless()) {
      text += usage.active ? " active" : " pending";
      if (usage.expires_at) {
        text += " until " + std::to_string(usage.expires_at->time_since_epoch().count());
      }
    }
    found.insert(text);
  }
  std::set<std::string> truth;
  for (const Subscription& one : check.leg.subscriptions) {
    std::string text = name(one.event, one.id, one.by_server);
    if (check.lossless()) {
      if (one.over) continue;
      text += one.active ? " active" : " pending";
      if (one.expires_us != 0) text += " until " + std::to_string(one.expires_us);
    } else if (one.event == "refer") {
      truth.insert(name(one.event, "", one.by_server));
    }
    truth.insert(text);
  }
  for (const std::string& text : found) {
    if (!truth.contains(text)) check.Fail("usages", text, "one that there is");
  }
  for (const std::string& text : truth) {
    if (check.lossless() && !found.contains(text))
      check.Fail("usages", "without " + text, "with it");
  }
}

}  // namespace sipheal::testing::generator
