"""The built-in plugin. It is loaded through its entry point and registers components like any other plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vireid.plugin_manager.manager import hookimpl

_HERE = 'vireid.plugins'
_TORCHVISION = 'torchvision.transforms.v2'

COMPONENTS = {
    'models': {
        'CrossModalModel': f'{_HERE}.models.cross_modal:CrossModalModel',
        'HOG': f'{_HERE}.models.hog:HOG',
        'LOMO': f'{_HERE}.models.lomo:LOMO',
        'HiCMD': f'{_HERE}.models.hicmd:HiCMD',
    },
    'translators': {
        'ZeroPadding': f'{_HERE}.translators.zero_padding:ZeroPadding',
        'LightGenerator': f'{_HERE}.translators.light_generator:LightGenerator',
        'CycleTranslator': f'{_HERE}.translators.cycle_translator:CycleTranslator',
        'UnifiedTranslator': f'{_HERE}.translators.unified_translator:UnifiedTranslator',
    },
    'backbones': {
        'TwoStreamResNet': f'{_HERE}.backbones.two_stream_resnet:TwoStreamResNet',
        'TwoStreamNetwork': f'{_HERE}.backbones.two_stream_network:TwoStreamNetwork',
    },
    'necks': {
        'StageEmbedding': f'{_HERE}.necks.stage_embedding:StageEmbedding',
        'MLFM': f'{_HERE}.necks.mlfm:MLFM',
        'GLFM': f'{_HERE}.necks.glfm:GLFM',
        'CorrespondenceConcat': f'{_HERE}.necks.correspondence_concat:CorrespondenceConcat',
        'Concat': f'{_HERE}.necks.concat:Concat',
        'Sum': f'{_HERE}.necks.sum:Sum',
        'GatedFusion': f'{_HERE}.necks.gated_fusion:GatedFusion',
        'CrossModalAttention': f'{_HERE}.necks.cross_modal_attention:CrossModalAttention',
        'ModalityMetric': f'{_HERE}.necks.modality_metric:ModalityMetric',
        'StripeEmbedding': f'{_HERE}.necks.stripe_embedding:StripeEmbedding',
        'ModalityCentering': f'{_HERE}.necks.modality_centering:ModalityCentering',
        'WithinIdentityWhitening': f'{_HERE}.necks.within_identity_whitening:WithinIdentityWhitening',
        'GraphAttention': f'{_HERE}.necks.graph_attention:GraphAttention',
        'NonLocal': f'{_HERE}.necks.non_local:NonLocal',
        'DEE': f'{_HERE}.necks.dee:DEE',
        'MFA': f'{_HERE}.necks.mfa:MFA',
        'Pool': f'{_HERE}.necks.pool:Pool',
        'GeneralizedSimilarity': f'{_HERE}.necks.generalized_similarity:GeneralizedSimilarity',
    },
    'heads': {
        'GlobalHead': f'{_HERE}.heads.global_head:GlobalHead',
        'PartHead': f'{_HERE}.heads.part_head:PartHead',
        'CameraHead': f'{_HERE}.heads.camera_head:CameraHead',
        'CorrelationHead': f'{_HERE}.heads.correlation_head:CorrelationHead',
        'IWPAHead': f'{_HERE}.heads.iwpa_head:IWPAHead',
        'GraphHead': f'{_HERE}.heads.graph_head:GraphHead',
        'StripeHead': f'{_HERE}.heads.stripe_head:StripeHead',
        'BottleneckHead': f'{_HERE}.heads.bottleneck_head:BottleneckHead',
        'MapHead': f'{_HERE}.heads.map_head:MapHead',
        'PatchCritic': f'{_HERE}.heads.patch_critic:PatchCritic',
        'JointCritic': f'{_HERE}.heads.joint_critic:JointCritic',
        'VectorHead': f'{_HERE}.heads.vector_head:VectorHead',
        'HiddenLayerHead': f'{_HERE}.heads.hidden_layer_head:HiddenLayerHead',
        'ModalityDiscriminator': f'{_HERE}.heads.modality_discriminator:ModalityDiscriminator',
    },
    'poolings': {
        'Average': f'{_HERE}.poolings.average:Average',
        'Max': f'{_HERE}.poolings.max:Max',
        'GeM': f'{_HERE}.poolings.gem:GeM',
        'Mixed': f'{_HERE}.poolings.mixed:Mixed',
        'CenterWeighted': f'{_HERE}.poolings.center_weighted:CenterWeighted',
    },
    'losses': {
        'CrossEntropy': f'{_HERE}.losses.cross_entropy:CrossEntropy',
        'BatchHardTriplet': f'{_HERE}.losses.batch_hard_triplet:BatchHardTriplet',
        'BiDirectionalRanking': f'{_HERE}.losses.bi_directional_ranking:BiDirectionalRanking',
        'CenterConstrainedRanking': f'{_HERE}.losses.center_constrained_ranking:CenterConstrainedRanking',
        'CrossModalContrastive': f'{_HERE}.losses.cross_modal_contrastive:CrossModalContrastive',
        'CrossModalityEuclidean': f'{_HERE}.losses.cross_modality_euclidean:CrossModalityEuclidean',
        'CameraCrossEntropy': f'{_HERE}.losses.camera_cross_entropy:CameraCrossEntropy',
        'PairCrossEntropy': f'{_HERE}.losses.pair_cross_entropy:PairCrossEntropy',
        'EachModality': f'{_HERE}.losses.each_modality:EachModality',
        'CrossModalityGap': f'{_HERE}.losses.cross_modality_gap:CrossModalityGap',
        'WeightedRegularizedTriplet': f'{_HERE}.losses.weighted_regularized_triplet:WeightedRegularizedTriplet',
        'EnhancedSquaredDifference': f'{_HERE}.losses.enhanced_squared_difference:EnhancedSquaredDifference',
        'HeteroCenterTriplet': f'{_HERE}.losses.hetero_center_triplet:HeteroCenterTriplet',
        'CosineTriplet': f'{_HERE}.losses.cosine_triplet:CosineTriplet',
        'CrossModalCosineTriplet': f'{_HERE}.losses.cross_modal_cosine_triplet:CrossModalCosineTriplet',
        'LeastSquares': f'{_HERE}.losses.least_squares:LeastSquares',
        'L1': f'{_HERE}.losses.l1:L1',
        'OneModality': f'{_HERE}.losses.one_modality:OneModality',
        'MSEL': f'{_HERE}.losses.msel:MSEL',
        'DCL': f'{_HERE}.losses.dcl:DCL',
        'CPM': f'{_HERE}.losses.cpm:CPM',
        'Orthogonality': f'{_HERE}.losses.orthogonality:Orthogonality',
        'CrossModalTriplet': f'{_HERE}.losses.cross_modal_triplet:CrossModalTriplet',
        'ModalityCrossEntropy': f'{_HERE}.losses.modality_cross_entropy:ModalityCrossEntropy',
        'PairHinge': f'{_HERE}.losses.pair_hinge:PairHinge',
    },
    'weighters': {
        'Fixed': f'{_HERE}.weighters.fixed:Fixed',
        'WarmUp': f'{_HERE}.weighters.warm_up:WarmUp',
        'HomoscedasticUncertainty': f'{_HERE}.weighters.homoscedastic_uncertainty:HomoscedasticUncertainty',
        'Composed': f'{_HERE}.weighters.composed:Composed',
    },
    'datasets': {
        'SYSU-MM01': f'{_HERE}.datasets.sysu_mm01:SYSUMM01',
        'RegDB': f'{_HERE}.datasets.regdb:RegDB',
        'LLCM': f'{_HERE}.datasets.llcm:LLCM',
        'Manifest': f'{_HERE}.datasets.manifest:Manifest',
        'Folders': f'{_HERE}.datasets.folders:Folders',
    },
    'protocols': {
        'sysu/agw': f'{_HERE}.protocols.sysu_agw:SYSUAgw',
        'sysu/official': f'{_HERE}.protocols.sysu_official:SYSUOfficial',
        'regdb/agw': f'{_HERE}.protocols.regdb_agw:RegDBAgw',
        'regdb/official': f'{_HERE}.protocols.regdb_official:RegDBOfficial',
        'llcm': f'{_HERE}.protocols.llcm:LLCMProtocol',
        'llcm-released': f'{_HERE}.protocols.llcm_released:LLCMReleased',
        'cross': f'{_HERE}.protocols.cross:Cross',
    },
    'readers': {'ImageCache': f'{_HERE}.readers.image_cache:ImageCache'},
    'similarities': {
        'HCML': f'{_HERE}.similarities.hcml:HCML',
        'MLAPG': f'{_HERE}.similarities.mlapg:MLAPG',
        'ContrastiveCorrelation': f'{_HERE}.similarities.contrastive_correlation:ContrastiveCorrelation',
        'GSM': f'{_HERE}.similarities.gsm:GSM',
    },
    'indexes': {
        'Exact': f'{_HERE}.indexes.exact:Exact',
        'FaissIVF': f'{_HERE}.indexes.faiss_ivf:FaissIVF',
        'FaissHNSW': f'{_HERE}.indexes.faiss_hnsw:FaissHNSW',
        'Qdrant': f'{_HERE}.indexes.qdrant:Qdrant',
    },
    'detectors': {'TorchvisionDetector': f'{_HERE}.detectors.torchvision_detector:TorchvisionDetector'},
    'launchers': {
        'local': f'{_HERE}.launchers.local:Local',
        'slurm': f'{_HERE}.launchers.slurm:Slurm',
    },
    'rerankers': {'KReciprocal': f'{_HERE}.rerankers.k_reciprocal:KReciprocal'},
    'samplers': {'IdentityBalanced': f'{_HERE}.samplers.identity_balanced:IdentityBalanced'},
    'steps': {
        'SingleOptimizer': f'{_HERE}.steps.single_optimizer:SingleOptimizer',
        'MultipleOptimizers': f'{_HERE}.steps.multiple_optimizers:MultipleOptimizers',
    },
    'loggers': {
        'Console': f'{_HERE}.loggers.console:Console',
        'MetricsFile': f'{_HERE}.loggers.metrics_file:MetricsFile',
        'Report': f'{_HERE}.loggers.report:Report',
        'Rankings': f'{_HERE}.loggers.rankings:Rankings',
        'TensorBoard': f'{_HERE}.loggers.tensorboard:TensorBoard',
        'WeightsAndBiases': f'{_HERE}.loggers.weights_and_biases:WeightsAndBiases',
        'MLflow': f'{_HERE}.loggers.mlflow:MLflow',
    },
    'transforms': {
        'ToFloat': f'{_HERE}.transforms.to_float:ToFloat',
        'Normalize': f'{_HERE}.transforms.in_place:Normalize',
        'RandomErasing': f'{_HERE}.transforms.in_place:RandomErasing',
        'PerModality': f'{_HERE}.transforms.per_modality:PerModality',
        'ResizeScaled': f'{_HERE}.transforms.resize_scaled:ResizeScaled',
        'ChannelExchange': f'{_HERE}.transforms.channel_exchange:ChannelExchange',
        'RandomChoice': f'{_HERE}.transforms.random_choice:RandomChoice',
        **{
            name: f'{_TORCHVISION}:{name}'
            for name in (
                'CenterCrop',
                'ColorJitter',
                'GaussianBlur',
                'Grayscale',
                'Pad',
                'RandomAffine',
                'RandomCrop',
                'RandomGrayscale',
                'RandomHorizontalFlip',
                'RandomResizedCrop',
                'Resize',
            )
        },
    },
    'optimizers': {name: f'torch.optim:{name}' for name in ('SGD', 'Adam', 'AdamW')},
    'schedules': {
        name: f'torch.optim.lr_scheduler:{name}'
        for name in (
            'ConstantLR',
            'CosineAnnealingLR',
            'ExponentialLR',
            'LinearLR',
            'MultiStepLR',
            'PolynomialLR',
            'StepLR',
        )
    },
}


@hookimpl
def register_components(add: Callable[[str, str, object], None]) -> None:
    """Registers every built-in component, lazily."""
    for kind, names in COMPONENTS.items():
        for name, target in names.items():
            add(kind, name, target)


@hookimpl(tryfirst=True)
def run_started(run: Any) -> None:
    """Writes run.json, the provenance of the run."""
    from vireid.plugins.provenance import write

    write(run)


@hookimpl
def register_configs(add: Callable[[Path], None]) -> None:
    """Registers the papers' configs as `vireid::tffn_sysu.py`, from the package or from the root of a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / 'configs', package.parent / 'configs'):
        if folder.is_dir():
            add(folder)
            return
