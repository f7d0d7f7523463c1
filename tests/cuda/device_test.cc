#include "tests/cuda/device_test.h"

namespace nwc {

Result<std::unique_ptr<DeviceTensorDecoder>> DeviceTest::MakeDecoder(const TensorInfo& tensor,
                                                                     ByteSpan side,
                                                                     DeviceCodec codec) {
  const int qualities = codec.neural != nullptr ? codec.neural->settings().qualities : 0;
  NWC_ASSIGN_OR_RETURN(TensorFacts facts, ParseTensorFacts(tensor, side, qualities));
  NWC_ASSIGN_OR_RETURN(DeviceBuffer memory, DeviceBuffer::Allocate(runtime(), FactBytes(tensor)));
  facts_.push_back(std::move(memory));
  return DeviceTensorDecoder::Create(runtime(), tensor, std::move(facts), std::move(codec),
                                     facts_.back().address(), nullptr);
}

Status DeviceTest::Decode(std::span<const ChunkOnDevice> chunks, const TensorSlice& slice,
                          std::vector<uint8_t>* out, NeuralArithmetic arithmetic) {
  const TensorInfo& tensor = chunks[0].decoder->tensor();
  out->assign(slice.weights() * DTypeSize(tensor.dtype), 0x55);
  NWC_ASSIGN_OR_RETURN(const DeviceBuffer result,
                       DeviceBuffer::CopyOf(runtime(), std::span<const uint8_t>(*out), nullptr));
  std::vector<DeviceBuffer> buffers;  // one a chunk, of exactly its size
  // Every other time most tables are outside the window that a block has in shared memory.
  wide_window_ = !wide_window_;
  DecodeBatch batch(wide_window_ ? runtime()->max_shared_bytes() : 0, arithmetic);
  for (const ChunkOnDevice& chunk : chunks) {
    NWC_ASSIGN_OR_RETURN(DeviceBuffer bytes, DeviceBuffer::CopyOf(runtime(), chunk.bytes, nullptr));
    NWC_ASSIGN_OR_RETURN(
        DeviceBuffer latents,
        DeviceBuffer::Allocate(runtime(), DecodeBatch::LatentBytes(*chunk.decoder, chunk.number)));
    batch.Add({chunk.decoder, chunk.number, chunk.bytes, bytes.address(), slice, result.address(),
               latents.address()});
    buffers.push_back(std::move(bytes));
    buffers.push_back(std::move(latents));
  }
  std::vector<uint8_t> description(DecodeBatch::MaxDescriptionBytes(batch.chunk_count()));
  NWC_ASSIGN_OR_RETURN(const DeviceBuffer described,
                       DeviceBuffer::Allocate(runtime(), description.size()));
  batch.Describe(description, described.address());
  NWC_RETURN_IF_ERROR(runtime()->CopyToDevice(described.address(), description.data(),
                                              batch.description_bytes(), nullptr));
  NWC_RETURN_IF_ERROR(batch.Launch(runtime(), nullptr));
  std::vector<uint8_t> rules(batch.rules_bytes());
  NWC_RETURN_IF_ERROR(
      runtime()->CopyToHost(rules.data(), described.address(), rules.size(), nullptr));
  if (!out->empty()) {
    NWC_RETURN_IF_ERROR(runtime()->CopyToHost(out->data(), result.address(), out->size(), nullptr));
  }
  NWC_ASSIGN_OR_RETURN(const OwnedEvent done, OwnedEvent::Create(runtime()));
  NWC_RETURN_IF_ERROR(runtime()->Record(done.get(), nullptr));
  NWC_RETURN_IF_ERROR(runtime()->Synchronize(done.get()));
  return batch.Check(rules.data());
}

}  // namespace nwc
