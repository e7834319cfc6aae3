//! A matmul that is ready to be launched: a matrix and its pipeline.

#![expect(unsafe_code, reason = "kernel launches and raw device addresses")]

use std::sync::Arc;

use cudarc::driver::CudaStream;

use crate::activations::require_lengths;
use crate::layout::Shape;
use crate::pipelines::{Direct, ExponentDecode, PaletteTranscode, Phases, WholeDecode};
use crate::workspace::WorkspaceNeed;
use crate::{Activations, Kernel, MatmulError, Pipeline, PlanName, ViewMut, Workspace};

/// y = x W^T by one pipeline. A plan borrows its matrix, which has the form that the pipeline
/// needs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Plan<'a> {
    /// Rebuilds weights in fragment form on the way to the tensor cores.
    Direct(Direct<'a>),
    /// Decodes the matrix, and cuBLASLt multiplies.
    WholeDecode(WholeDecode<'a>),
    /// Decodes the exponents, and rebuilds weights from both planes on the way to the tensor cores.
    ExponentDecode(ExponentDecode<'a>),
    /// Converts the matrix to fragment form, and continues like [`Direct`].
    PaletteTranscode(PaletteTranscode<'a>),
}

impl<'a> From<Direct<'a>> for Plan<'a> {
    fn from(direct: Direct<'a>) -> Plan<'a> {
        Plan::Direct(direct)
    }
}

impl<'a> From<WholeDecode<'a>> for Plan<'a> {
    fn from(decode: WholeDecode<'a>) -> Plan<'a> {
        Plan::WholeDecode(decode)
    }
}

impl<'a> From<ExponentDecode<'a>> for Plan<'a> {
    fn from(decode: ExponentDecode<'a>) -> Plan<'a> {
        Plan::ExponentDecode(decode)
    }
}

impl<'a> From<PaletteTranscode<'a>> for Plan<'a> {
    fn from(transcode: PaletteTranscode<'a>) -> Plan<'a> {
        Plan::PaletteTranscode(transcode)
    }
}

impl<'a> Plan<'a> {
    /// The name, which can be saved and looked up with [`Linear::plan`](crate::Linear::plan).
    pub fn name(&self) -> PlanName {
        self.phases().name()
    }

    /// The shape of the matrix.
    pub fn shape(&self) -> Shape {
        self.phases().shape()
    }

    /// What this matmul needs of a workspace.
    pub fn workspace_need(&self) -> WorkspaceNeed {
        self.phases().need()
    }

    /// The same pipeline with this kernel, if it has more than one.
    #[must_use]
    pub const fn with_kernel(self, kernel: Kernel) -> Plan<'a> {
        match self {
            Plan::Direct(direct) => Plan::Direct(direct.with_kernel(kernel)),
            Plan::PaletteTranscode(transcode) => {
                Plan::PaletteTranscode(transcode.with_kernel(kernel))
            }
            Plan::WholeDecode(_) | Plan::ExponentDecode(_) => self,
        }
    }

    /// This plan and those with each of its other kernels, without those that cannot be fast for
    /// this many rows of x.
    pub(crate) fn with_every_kernel(self, batch: u32) -> impl Iterator<Item = Plan<'a>> {
        let kernels = self.phases().kernels(batch).into_iter();
        std::iter::once(self).chain(kernels.map(move |kernel| self.with_kernel(kernel)))
    }

    /// Launches the matmul of x to as many rows of y with a value for each row of the matrix, BF16
    /// and row-major. Returns at once, except that the workspace's first whole decode of a shape
    /// and batch asks cuBLASLt for an algorithm.
    ///
    /// The stream ensures that x is read after the previous launches on it are done. On a Hopper
    /// GPU, weights may be read before.
    ///
    /// # Errors
    /// [`GpuError::WrongLength`](unweight_gpu::GpuError::WrongLength) for an x of the wrong length
    /// or a y that is too short; [`GpuError::PerThreadStream`](unweight_gpu::GpuError);
    /// [`GpuError::Capturing`](unweight_gpu::GpuError) if the workspace was last used on another
    /// stream, which is capturing; [`MatmulError::WorkspaceTooSmall`]; [`MatmulError::NoCublas`]; the
    /// errors of the driver and of cuBLASLt.
    ///
    /// # Safety
    /// - The matrix, the workspace and its layout, x, y and the stream must be of one device.
    /// - The matrix, the workspace, x and y must exist, and nobody else may write them
    ///   or read y, until the matmul is done.
    /// - The workspace must have been created on this stream, or on one that it waits for. The same
    ///   holds for all other memory written on another stream.
    /// - If the stream is capturing, all of this must hold until the last launch of the graph is
    ///   done, and no other matmul may use the workspace during a launch.
    pub unsafe fn multiply(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        // SAFETY: for all calls: the caller keeps the preconditions; the matmul comes after the
        // launches that it needs on the same stream.
        unsafe {
            if self.begin(stream, workspace, x, y)? {
                self.prepare(stream, workspace, 0)?;
                self.launch(stream, workspace, 0, x, y)?;
            }
        }
        Ok(())
    }

    /// Whether a preparation is launched before the matmul.
    pub(crate) fn prepares(&self) -> bool {
        self.workspace_need().prepared_bytes > 0
    }

    /// Launches the preparation of the matmul into a slot of the workspace. Returns at once.
    ///
    /// # Errors
    /// [`MatmulError::WorkspaceTooSmall`]; the errors of the driver.
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`]. Nobody else may use the slot until the matmul is
    /// done. All preparations in one workspace must be launched on streams that wait for one
    /// another.
    pub(crate) unsafe fn prepare(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &Workspace,
        slot: u32,
    ) -> Result<(), MatmulError> {
        let bytes = self.workspace_need().prepared_bytes;
        if bytes == 0 {
            return Ok(());
        }
        let to = workspace.slot(slot, bytes)?;
        // SAFETY: the caller keeps the preconditions; the slot is as long as the prepared matrix.
        unsafe { self.phases().prepare(stream, workspace, to) }
    }

    /// Launches the matmul with the prepared matrix in a slot. The stream must wait for the
    /// preparation.
    ///
    /// # Errors
    /// The errors of [`Plan::multiply`].
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`].
    pub(crate) unsafe fn multiply_prepared(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        slot: u32,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        // SAFETY: for both calls: the caller keeps the preconditions.
        unsafe {
            if self.begin(stream, workspace, x, y)? {
                self.launch(stream, workspace, slot, x, y)?;
            }
        }
        Ok(())
    }

    /// Checks what every launch needs. Returns whether there are rows to multiply.
    ///
    /// # Errors
    /// The errors of [`Plan::multiply`] that are known before a launch.
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`].
    unsafe fn begin(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<bool, MatmulError> {
        require_lengths(self.shape(), x, y)?;
        if x.batch == 0 {
            return Ok(false);
        }
        // SAFETY: the caller keeps the preconditions. This call comes before the launches, because
        // some may be made before another fails.
        unsafe { workspace.launched_on(stream)? };
        // Tensor maps and cuBLASLt need the context on this thread before the first launch.
        stream.context().bind_to_thread()?;
        Ok(true)
    }

    /// Launches the matmul with the prepared matrix in a slot, after [`Plan::begin`].
    ///
    /// # Errors
    /// The errors of [`Plan::multiply`].
    ///
    /// # Safety
    /// The preconditions of [`Plan::multiply`].
    unsafe fn launch(
        &self,
        stream: &Arc<CudaStream>,
        workspace: &mut Workspace,
        slot: u32,
        x: Activations<'_>,
        y: &ViewMut<'_>,
    ) -> Result<(), MatmulError> {
        let prepared = match self.workspace_need().prepared_bytes {
            0 => 0,
            bytes => workspace.slot(slot, bytes)?,
        };
        // SAFETY: the caller keeps the preconditions; lengths were checked, and the slot is as long
        // as the prepared matrix.
        unsafe { self.phases().multiply(stream, workspace, prepared, x, y) }
    }

    /// The pipeline. Nothing else depends on which one it is.
    fn phases(&self) -> &(dyn Phases + 'a) {
        match self {
            Plan::Direct(direct) => direct,
            Plan::WholeDecode(decode) => decode,
            Plan::ExponentDecode(decode) => decode,
            Plan::PaletteTranscode(transcode) => transcode,
        }
    }
}

impl Pipeline {
    /// What a matmul with a matrix of this shape needs of a workspace. It is known before there is
    /// such a matrix.
    pub const fn workspace_need(self, shape: Shape) -> WorkspaceNeed {
        match self {
            Pipeline::Direct => Direct::need(shape),
            Pipeline::WholeDecode => WholeDecode::need(shape),
            Pipeline::ExponentDecode => ExponentDecode::need(shape),
            Pipeline::PaletteTranscode => PaletteTranscode::need(shape),
        }
    }
}
