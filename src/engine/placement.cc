// SPDX-License-Identifier: Apache-2.0
#include "engine/placement.h"

#include <utility>

namespace sipheal::inline v0_1::internal {
namespace {

bool Takes(const Target& target, const PlacementQuery& query) {
  return target.usable() && target.has_room() && target.has_endpoints.contains(query.endpoint) &&
         !query.avoid.contains(target.options.name) && target.status->incarnation != query.never;
}

}  // namespace

PlacementAnswer Place(const Targets& targets, const PlacementQuery& query) {
  PlacementAnswer answer;
  if (const auto wish = targets.find(query.wish);
      wish != targets.end() && Takes(*wish->second, query)) {
    answer.target = wish->second.get();
    return answer;
  }
  int usable = 0;
  int lacking = 0;
  for (const auto& [name, target] : targets) {
    if (!target->usable()) continue;
    ++usable;
    if (target->missing_endpoints.contains(query.endpoint)) ++lacking;
    if (!Takes(*target, query)) continue;
    const auto rank = [](const Target& t) { return std::pair(t.busy, t.load()); };
    if (answer.target == nullptr || rank(*target) < rank(*answer.target))
      answer.target = target.get();
  }
  answer.nobody_has_endpoint = usable > 0 && usable == lacking;
  return answer;
}

}  // namespace sipheal::inline v0_1::internal
