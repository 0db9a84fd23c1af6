// SPDX-License-Identifier: Apache-2.0
// A real Asterisk for integration tests, made by sipheal_lab.asterisk and from then on in the hands
// of the test: killed, stopped, continued, started again at the same ports.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "sipheal/adapters/ari.h"

namespace sipheal::inline v0_1::testing {

class RealAsterisk {
 public:
  // Null when no Asterisk was built; the reason goes to stderr. With SIPHEAL_REQUIRE_ASTERISK=1
  // that is a failure of the test instead. `arguments`: further ones of sipheal_lab.asterisk.
  static std::unique_ptr<RealAsterisk> Make(const std::string& name,
                                            const std::vector<std::string>& arguments = {});
  ~RealAsterisk();
  RealAsterisk(const RealAsterisk&) = delete;
  RealAsterisk& operator=(const RealAsterisk&) = delete;

  // Starts it and waits until it is fully booted.
  bool Boot();
  // SIGKILL; returns when it was sent, so that the test can measure from there.
  void Kill();
  // Waits until the killed process is gone.
  void Reap();
  void Signal(int number);

  std::string Cli(const std::string& command) const;
  AriInstanceOptions Ari() const;
  std::string sip_address() const { return sip_address_; }
  int sip_port() const { return sip_port_; }
  pid_t pid() const { return pid_; }

 private:
  RealAsterisk() = default;
  std::string name_, prefix_, config_, directory_, run_directory_, sip_address_, user_, password_;
  int ari_port_ = 0;
  int sip_port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace sipheal::inline v0_1::testing
