// SPDX-License-Identifier: Apache-2.0
#include "sipheal/base/telemetry_sink.h"

namespace sipheal::inline v0_1 {
namespace {

class Null final : public TelemetrySink {
 public:
  void Count(std::string_view, Labels, double) override {}
  void Gauge(std::string_view, Labels, double) override {}
  void Observe(std::string_view, Labels, double) override {}
};

}  // namespace

TelemetrySink::~TelemetrySink() = default;

std::shared_ptr<TelemetrySink> NullTelemetrySink() { return std::make_shared<Null>(); }

}  // namespace sipheal::inline v0_1
