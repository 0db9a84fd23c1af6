// SPDX-License-Identifier: Apache-2.0
// The event socket of one Asterisk: connects, learns which incarnation it speaks to, hands its
// events on, and connects again when it is lost.
#pragma once

#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ari/base_url.h"
#include "ari/connections.h"
#include "ari/socket_loop.h"

namespace sipheal::inline v0_1::internal {

// What the socket needs of the world; called on the loop's thread.
class EventSocketHost {
 public:
  virtual ~EventSocketHost() = default;
  virtual void OnSocketConnected(const Incarnation& incarnation) = 0;
  virtual void OnSocketLost(const Incarnation& incarnation, const absl::Status& why) = 0;
  virtual void OnSocketText(const Incarnation& incarnation, std::string text) = 0;
  virtual void OnSocketHeard(const std::string& instance) = 0;
  // Asks for kLifePath; `done` comes back on the loop's thread, with the address that answered.
  struct Life {
    std::string startup_time;
    std::string address;
  };
  virtual void AskLife(const std::string& instance,
                       std::function<void(absl::StatusOr<Life>)> done) = 0;
  // Asks for the events of all channels and bridges, for the application that is registered now;
  // `done` comes back on the loop's thread.
  virtual void Subscribe(const std::string& instance, std::function<void(absl::Status)> done) = 0;
};

// All methods on the loop's thread.
class EventSocket : private SocketEvents, public std::enable_shared_from_this<EventSocket> {
 public:
  EventSocket(SocketLoop& loop, EventSocketHost& host, AriInstanceOptions instance, BaseUrl url,
              const AriOptions& options);
  ~EventSocket() override;

  void Begin();
  void Ping();
  // The server gave our application to another client: wait before taking it back.
  void OnReplaced();

 private:
  enum class Stage {
    kWaiting,     // for the next try
    kAsking,      // who is there, and at which address?
    kConnecting,  // the WebSocket handshake is under way
    kVerifying,   // open; is it still the same incarnation?
    kOpen,
  };

  void OnOpen() override;
  void OnData(const char* data, std::size_t size, bool last) override;
  void OnPong() override;
  void OnWritable() override;
  std::string BasicAuth() override;
  void OnClosed(const std::string& why) override;

  void OnAsked(absl::StatusOr<EventSocketHost::Life> life);
  void OnVerified(absl::StatusOr<EventSocketHost::Life> life);
  void Deliver(std::string text);
  void OnTimer();
  void Lost(const absl::Status& why);
  // Calls `next` with the answer, unless the socket has moved on since.
  void Ask(void (EventSocket::*next)(absl::StatusOr<EventSocketHost::Life>));
  void Heard();
  std::chrono::milliseconds NextDelay();
  std::string Where() const;

  SocketLoop& loop_;
  EventSocketHost& host_;
  const AriInstanceOptions instance_;
  const BaseUrl url_;
  const AriOptions& options_;

  Stage stage_ = Stage::kWaiting;
  std::uint64_t generation_ = 0;  // rises with each Lost, so that late answers are known as such
  lws* socket_ = nullptr;
  Incarnation incarnation_;         // `life` is empty unless the socket is open or being verified
  std::string partial_;             // the message that is coming in
  bool skipping_ = false;           // it is too long: the rest of it is dropped
  std::vector<std::string> early_;  // messages that came before the incarnation was verified
  std::size_t early_bytes_ = 0;
  bool ping_wanted_ = false;
  MonotonicTime heard_{};
  std::chrono::milliseconds delay_{0};
  bool replaced_ = false;
  std::minstd_rand random_;
  LoopTimer timer_;
};

}  // namespace sipheal::inline v0_1::internal
