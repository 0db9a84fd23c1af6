// SPDX-License-Identifier: Apache-2.0
// A phone over UDP on loopback that believes to be in a dialog with a server that died. It accepts
// a request only in that dialog, with a CSeq that rises, and remembers what it received.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sipheal::inline v0_1::testing {

class SipPhone {
 public:
  enum class Conduct { kAnswers, kRefuses, kSilent };

  SipPhone(std::string user, Conduct conduct);
  ~SipPhone();
  SipPhone(const SipPhone&) = delete;
  SipPhone& operator=(const SipPhone&) = delete;

  // The recovery variables of its dialog.
  std::vector<std::pair<std::string, std::string>> Variables() const;
  // Requests received by method, retransmissions not counted.
  int Received(const std::string& method) const;
  // Requests that a strict phone takes for something else than a request in its dialog.
  std::vector<std::string> violations() const;
  // Sends BYE to the contact of the last INVITE; false when there was none.
  bool HangUp();

 private:
  void Run();
  void OnRequest(const std::string& message, const std::string& method);
  std::string Reply(const std::string& request, const std::string& status,
                    const std::string& more) const;
  void Send(const std::string& message) const;

  const std::string user_;
  const Conduct conduct_;
  int socket_ = -1;
  int port_ = 0;
  std::string call_id_, own_tag_, server_tag_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::map<std::string, int> received_;
  std::set<std::string> seen_;  // method and branch
  std::vector<std::string> violations_;
  std::string contact_;  // of the server, from its INVITE
  long last_cseq_ = 0;
  std::thread thread_;
};

}  // namespace sipheal::inline v0_1::testing
