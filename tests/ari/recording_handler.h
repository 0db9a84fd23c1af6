// SPDX-License-Identifier: Apache-2.0
// An AriEventHandler and a LogSink that remember what they were told.
#pragma once

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ari/connections.h"
#include "sipheal/base/log_sink.h"

namespace sipheal::inline v0_1::internal {

class RecordingHandler : public AriEventHandler {
 public:
  void OnConnected(const Incarnation& incarnation) override {
    const std::scoped_lock lock(mutex_);
    connected_.push_back(incarnation);
  }
  void OnDisconnected(const Incarnation& incarnation, const absl::Status& why) override {
    const std::scoped_lock lock(mutex_);
    disconnected_.emplace_back(incarnation, why);
  }
  void OnEvent(const Incarnation&, const nlohmann::json& event, WallTime) override {
    const std::scoped_lock lock(mutex_);
    events_.push_back(event);
  }

  std::vector<Incarnation> connected() const {
    const std::scoped_lock lock(mutex_);
    return connected_;
  }
  std::vector<std::pair<Incarnation, absl::Status>> disconnected() const {
    const std::scoped_lock lock(mutex_);
    return disconnected_;
  }
  std::vector<nlohmann::json> events() const {
    const std::scoped_lock lock(mutex_);
    return events_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Incarnation> connected_;
  std::vector<std::pair<Incarnation, absl::Status>> disconnected_;
  std::vector<nlohmann::json> events_;
};

class RecordingLog : public LogSink {
 public:
  void Write(const LogEvent& event) override {
    const std::scoped_lock lock(mutex_);
    text_ += event.event + ": " + event.message;
    for (const auto& [name, value] : event.fields) text_ += " " + name + "=" + value;
    text_ += "\n";
  }
  std::string text() const {
    const std::scoped_lock lock(mutex_);
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

}  // namespace sipheal::inline v0_1::internal
