// SPDX-License-Identifier: Apache-2.0
#include "engine/placement.h"

#include <cstdint>
#include <utility>

namespace sipheal::inline v0_1::internal {
namespace {

bool Takes(const Target& target, const PlacementQuery& query) {
  return target.usable() && target.has_room() && target.has_endpoints.contains(query.endpoint) &&
         !query.avoid.contains(target.options.name) && target.status->incarnation != query.never;
}

// The higher, the more this group belongs there: the same in every process, and for each group
// another order of the instances (rendezvous hashing, with FNV-1a and a finalizer).
std::uint64_t Belonging(const std::string& group, const std::string& instance) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&hash](const std::string& text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = (hash ^ 0xffu) * 0x100000001b3u;  // ends the text
  };
  add(group);
  add(instance);
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
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
    const auto goes_before = [&query](const Target& a, const Target& b) {
      if (!query.group.empty()) {
        return Belonging(query.group, a.options.name) > Belonging(query.group, b.options.name);
      }
      return std::pair(a.busy, a.load()) < std::pair(b.busy, b.load());
    };
    if (answer.target == nullptr || goes_before(*target, *answer.target))
      answer.target = target.get();
  }
  answer.nobody_has_endpoint = usable > 0 && usable == lacking;
  return answer;
}

}  // namespace sipheal::inline v0_1::internal
