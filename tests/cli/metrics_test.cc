// SPDX-License-Identifier: Apache-2.0
#include "cli/metrics.h"

#include <gtest/gtest.h>

#include <string>

namespace sipheal::inline v0_1::cli {
namespace {

TEST(MemoryMetrics, AddsSetsAndObservesByNameAndLabels) {
  MemoryMetrics metrics;
  metrics.Count("sipheal_recoveries_total", {{"outcome", "recovered"}}, 2);
  metrics.Count("sipheal_recoveries_total", {{"outcome", "recovered"}}, 3);
  metrics.Count("sipheal_recoveries_total", {{"outcome", "ended"}}, 1);
  metrics.Gauge("sipheal_recoveries_in_flight", {}, 7);
  metrics.Gauge("sipheal_recoveries_in_flight", {}, 4);
  metrics.Observe("sipheal_gap_seconds", {}, 0.5);
  metrics.Observe("sipheal_gap_seconds", {}, 0.25);
  const auto values = metrics.Snapshot();
  ASSERT_EQ(values.size(), 4U);
  EXPECT_EQ(values[0].name, "sipheal_gap_seconds");
  EXPECT_EQ(values[0].count, 2U);
  EXPECT_DOUBLE_EQ(values[0].value, 0.75);
  EXPECT_DOUBLE_EQ(values[0].least, 0.25);
  EXPECT_DOUBLE_EQ(values[0].most, 0.5);
  EXPECT_EQ(values[1].value, 4);
  EXPECT_EQ(values[2].labels[0].second, "ended");
  EXPECT_EQ(values[2].value, 1);
  EXPECT_EQ(values[3].value, 5);
}

TEST(MemoryMetrics, StaysBoundedWhenLabelsDoNot) {
  MemoryMetrics metrics;
  for (std::size_t i = 0; i < MemoryMetrics::kMostSeries + 10; ++i) {
    const std::string value = std::to_string(i);
    metrics.Count("sipheal_x_total", {{"id", value}}, 1);
  }
  const auto values = metrics.Snapshot();
  EXPECT_EQ(values.size(), MemoryMetrics::kMostSeries + 1);
  EXPECT_EQ(values.back().name, "sipheal_metrics_dropped_total");
  EXPECT_EQ(values.back().value, 10);
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
