// SPDX-License-Identifier: Apache-2.0
// A connection between a client and a server on this machine that a test can break and mend, while
// both live on.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace sipheal::inline v0_1::testing {

// Listens on 127.0.0.1 at a free port and runs one thread.
class TcpProxy {
 public:
  explicit TcpProxy(int server_port);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  int port() const { return port_; }
  // Resets all connections and refuses new ones. Has taken effect when it returns.
  void Break();
  // Accepts connections again, at the same port.
  void Mend();

 private:
  void Set(bool broken);
  void Run();
  void Listen();
  void Accept();
  void ResetAll();
  // Carries what can be read at `from` over; false when that end is closed.
  static bool Carry(int from, int to);

  const int server_port_;
  int port_ = 0;
  int listener_ = -1;
  int wake_ = -1;
  std::vector<std::pair<int, int>> links_;  // client, server

  std::mutex mutex_;
  std::condition_variable changed_;
  bool broken_ = false;
  bool applied_ = true;  // what was set last has taken effect
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sipheal::inline v0_1::testing
