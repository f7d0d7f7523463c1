// nwc bench --device: how fast a model comes to a GPU.
#pragma once

#include <string>

#include "tools/bench.h"
#include "tools/device_speed.h"

namespace nwc {

// "cuda" or "cuda:N"; kUsage for other texts.
Result<int> ParseCudaDevice(const std::string& text);

// kUnsupported where that GPU is not there.
Status BenchDevice(const BenchArguments& arguments);

// The reports; pure.
std::string FormatDeviceText(const DeviceSpeeds& speeds, int runs);
std::string FormatDeviceJson(const DeviceSpeeds& speeds, const std::string& file, int runs);

}  // namespace nwc
