// SPDX-License-Identifier: Apache-2.0
// Recorded event streams (tests/ari/fixtures) and hand-made events.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ari/tracker_state.h"
#include "tests/support/source_dir.h"

namespace sipheal::testing {

inline constexpr WallTime kStart{std::chrono::seconds(1'800'000'000)};

inline WallTime AtMs(double ms) {
  return kStart + std::chrono::microseconds(static_cast<std::int64_t>(ms * 1000));
}

struct RecordedEvent {
  double at_ms = 0;
  std::string section;
  nlohmann::json event;
};

inline std::vector<RecordedEvent> ReadFixture(const std::string& name) {
  std::ifstream file(SourceDir() + "/tests/ari/fixtures/" + name + ".json");
  const auto recorded = nlohmann::json::parse(file, nullptr, false);
  std::vector<RecordedEvent> events;
  if (!recorded.is_object()) {
    ADD_FAILURE() << "no fixture " << name;
    return events;
  }
  for (const auto& item : recorded["events"]) {
    events.push_back(
        {item["at_ms"].get<double>(), item["section"].get<std::string>(), item["event"]});
  }
  return events;
}

// The newest state of each session, as a store would have it.
class Sessions {
 public:
  void Take(internal::TrackerState& state) {
    for (Session& session : state.TakeChanged()) {
      ++changes;
      if (session.state == SessionState::kEnded) {
        by_endpoint_.erase(session.endpoint + session.channel_id);
        ++ended;
      } else {
        by_endpoint_[session.endpoint + session.channel_id] = std::move(session);
      }
    }
  }
  // The only live session of this endpoint.
  const Session* Of(const std::string& endpoint) const {
    const Session* found = nullptr;
    for (const auto& [key, session] : by_endpoint_) {
      if (session.endpoint != endpoint) continue;
      EXPECT_EQ(found, nullptr) << "two sessions of " << endpoint;
      found = &session;
    }
    return found;
  }
  std::size_t size() const { return by_endpoint_.size(); }
  const std::map<std::string, Session>& all() const { return by_endpoint_; }

  int changes = 0;
  int ended = 0;

 private:
  std::map<std::string, Session> by_endpoint_;
};

}  // namespace sipheal::testing
